"""The whole bundle is deployed twice by the real gcloud: the first run makes everything, the second changes nothing."""

import ast
import re

import pytest

from deploy.gcp.revisions import BASE_IMAGE
from deploy.staging import REPOSITORY, load_functions, load_routes, load_schedules, stage
from tests.deploy.gcp.cloud import holds
from tests.deploy.gcp.gcloud import CLIENT_SECRET, DOMAIN, REGION, Operator, Ran, variables_of

MEMBER = "serviceAccount:{}@demo-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def second(deployed: Operator) -> Ran:
    """What the second run did."""
    return deployed.runs("deploy.sh")


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(operator: Operator) -> None:
    ran = operator.runs("deploy.sh", DRY_RUN="1")
    assert ran.status == 0
    assert ran.changes == []
    assert "would: targets: making it" in ran.said
    assert "gcloud compute url-maps import extension" in ran.said
    assert re.search(r"at most [\d,]+ dollars a month, if every instance is busy all the time", ran.said)


def test_without_a_domain_nothing_begins(operator: Operator) -> None:
    ran = operator.runs("deploy.sh", DOMAIN="", REGION="europe")
    assert ran.status != 0
    assert "give DOMAIN=..." in ran.said
    assert "REGION must be a region" in ran.said
    assert "nothing was made: mend this" in ran.said
    assert operator.cloud.calls == []


def test_a_second_run_changes_nothing(second: Ran) -> None:
    assert second.status == 0
    assert second.changes == []
    assert f"set this DNS record: {DOMAIN}. A 203.0.113.7" in second.said
    assert f"set this DNS record: _acme-challenge.{DOMAIN}. CNAME " in second.said


def test_nothing_that_was_said_holds_a_secret(second: Ran) -> None:
    assert "canary" not in second.said


def test_every_function_is_deployed_as_its_row_says(deployed: Operator) -> None:
    for function in load_functions().values():
        service = deployed.cloud.things[f"service/{function.name.replace('_', '-')}"]
        spec = service["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        limits = container["resources"]["limits"]
        assert (limits["memory"], float(limits["cpu"])) == (function.memory, function.cpu)
        assert (spec["containerConcurrency"], spec["timeoutSeconds"]) == (
            function.concurrency,
            function.timeout,
        )
        least = service["metadata"]["annotations"].get("run.googleapis.com/minScale", "0")
        assert int(least) == function.min_instances
        most = service["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/maxScale"]
        assert int(most) == function.max_instances
        variables = variables_of(service)
        assert variables["THREADS"] == str(function.concurrency)
        assert {name for name, value in variables.items() if value.endswith(":1")} == set(function.secrets)
        assert variables.keys() <= set(function.variables) | {"THREADS"}


def test_a_function_is_told_where_things_are(deployed: Operator) -> None:
    variables = variables_of(deployed.cloud.things["service/outbound-worker"])
    assert variables["OUTBOUND_WORKER_URL"] == "https://outbound-worker-123456789012.europe-west1.run.app"
    assert variables["EXTENSION_URL"] == f"https://{DOMAIN}"
    assert variables["TASKS_SERVICE_ACCOUNT"] == "tasks-caller@demo-project.iam.gserviceaccount.com"
    assert variables["KLAVIYO_CLIENT_ID"] == "the-app"
    assert (variables["STORE"], variables["QUEUE"]) == ("firestore", "cloud-tasks")


def test_the_upload_holds_what_the_function_needs_and_nothing_else(
    deployed: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    builds = [thing for name, thing in deployed.cloud.things.items() if name.startswith("build/")]
    assert {build["function"] for build in builds} == {f.entry_point for f in load_functions().values()}
    assert {build["base"] for build in builds} == {BASE_IMAGE}
    for build in builds:
        root = stage(build["function"], tmp_path_factory.mktemp("staged"))
        staged = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        assert build["files"] == staged


def test_every_module_that_a_function_imports_is_in_its_upload(deployed: Operator) -> None:
    for name, build in deployed.cloud.things.items():
        if name.startswith("build/"):
            files = build["files"]
            for module in _imports(files["main.py"].decode()):
                path = module.replace(".", "/")
                assert f"{path}.py" in files or f"{path}/__init__.py" in files


def _imports(source: str) -> set[str]:
    found = {node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
    return {module for module in found if module.startswith("shared")}


def test_workers_let_in_cloud_tasks_and_the_schedule_and_nobody_else(deployed: Operator) -> None:
    scheduled = {schedule.function for schedule in load_schedules().values()}
    for worker in (function for function in load_functions().values() if not function.public):
        name = worker.name.replace("_", "-")
        annotations = deployed.cloud.things[f"service/{name}"]["metadata"]["annotations"]
        assert annotations["run.googleapis.com/ingress"] == "internal"
        assert annotations.get("run.googleapis.com/invoker-iam-disabled", "false").lower() == "false"
        (binding,) = deployed.cloud.things[f"policy:service/{name}"]["bindings"]
        callers = ["tasks-caller", *(["schedule-caller"] if worker.name in scheduled else [])]
        assert binding["role"] == "roles/run.invoker"
        assert set(binding["members"]) == {MEMBER.format(caller) for caller in callers}


def test_public_functions_are_reached_through_the_load_balancer_alone(deployed: Operator) -> None:
    for function in load_functions().values():
        if function.public:
            service = deployed.cloud.things[f"service/{function.name.replace('_', '-')}"]
            annotations = service["metadata"]["annotations"]
            assert annotations["run.googleapis.com/ingress"] == "internal-and-cloud-load-balancing"


def test_no_account_may_more_than_it_needs(deployed: Operator) -> None:
    cloud = deployed.cloud
    roles = {
        binding["role"]: {member.partition(":")[2].partition("@")[0] for member in binding["members"]}
        for binding in cloud.things["policy:project"]["bindings"]
    }
    assert roles == {
        "roles/cloudtasks.enqueuer": {"public-functions", "install-admin", "workers"},
        "roles/cloudtasks.queueAdmin": {"install-admin", "workers"},
        "roles/cloudtasks.viewer": {"install-admin"},
        "roles/datastore.user": {"public-functions", "install-admin", "workers"},
        "roles/run.builder": {"deployment"},
    }
    tasks = f"account/{MEMBER.format('tasks-caller').partition(':')[2]}"
    assert holds(cloud, tasks, "roles/iam.serviceAccountUser", MEMBER.format("workers"))


def test_a_secret_is_read_by_those_functions_alone_that_are_given_it(deployed: Operator) -> None:
    reader = "roles/secretmanager.secretAccessor"
    given = {
        f.public
        for f in load_functions().values()
        if "KLAVIYO_CLIENT_SECRET" in f.secrets and not f.makes_queues
    }
    for public, account in ((True, "public-functions"), (False, "workers")):
        reads = holds(deployed.cloud, "secret/klaviyo-client-secret", reader, MEMBER.format(account))
        assert reads == (public in given)


def test_secrets_hold_what_was_given_and_a_fresh_key(deployed: Operator) -> None:
    assert deployed.cloud.things["secret/klaviyo-client-secret/1"]["canary"] == CLIENT_SECRET
    key = deployed.cloud.things["secret/encryption-keys/1"]["canary"]
    assert re.fullmatch(r"k\d+:[A-Za-z0-9+/]{43}=", key)


def test_every_public_path_leads_to_its_function_and_tasks_nowhere(deployed: Operator) -> None:
    map = deployed.cloud.things["compute/urlMaps/extension"]
    (matcher,) = map["pathMatchers"]
    led = {
        rule["matchRules"][0]["pathTemplateMatch"]: rule["service"].rpartition("/")[2]
        for rule in matcher["routeRules"]
    }
    assert led == {route.path: route.function.replace("_", "-") for route in load_routes()}
    assert [rule["priority"] for rule in matcher["routeRules"]] == list(range(1, len(load_routes()) + 1))
    assert not [path for path in led if "tasks" in path]
    for anything in (map, matcher):
        assert anything["defaultRouteAction"]["faultInjectionPolicy"]["abort"]["httpStatus"] == 404


def test_only_install_and_admin_are_limited_and_answer_429(deployed: Operator) -> None:
    limited = {
        name.rpartition("/")[2]
        for name, thing in deployed.cloud.things.items()
        if name.startswith("compute/backendServices/") and "securityPolicy" in thing
    }
    assert limited == {"install", "admin"}
    for name, limit in (("install", 120), ("admin", 1200)):
        attached = deployed.cloud.things[f"compute/backendServices/{name}"]["securityPolicy"]
        policy = deployed.cloud.things[f"compute/securityPolicies/{attached.rpartition('/')[2]}"]
        options = policy["rules"][0]["rateLimitOptions"]
        assert options["rateLimitThreshold"] == {"count": limit, "intervalSec": 60}
        assert options["exceedAction"] == "deny(429)"


def test_the_public_name_is_checked_from_outside_where_no_function_answers(deployed: Operator) -> None:
    (check,) = [thing for name, thing in deployed.cloud.things.items() if name.startswith("uptime/")]
    assert check["monitoredResource"]["labels"]["host"] == DOMAIN
    http = check["httpCheck"]
    assert (http["useSsl"], http["validateSsl"], http["path"]) == (True, True, "/")
    assert http["acceptedResponseStatusCodes"] == [{"statusValue": 404}]
    assert not [route for route in load_routes() if route.path == http["path"]]
    (alert,) = [
        thing
        for name, thing in deployed.cloud.things.items()
        if name.startswith("alert/") and thing["userLabels"]["alert"] == "name-silent"
    ]
    assert DOMAIN in alert["conditions"][0]["conditionThreshold"]["filter"]


def test_the_certificate_is_there_before_the_name_leads_here(deployed: Operator) -> None:
    things = deployed.cloud.things
    (certificate,) = [
        thing for name, thing in things.items() if name.startswith("names/") and "managed" in thing
    ]
    assert certificate["managed"]["domains"] == [DOMAIN]
    assert len(certificate["managed"]["dnsAuthorizations"]) == 1
    assert things["compute/targetHttpsProxies/extension"]["certificateMap"].endswith(
        "/certificateMaps/extension"
    )
    assert "sslCertificates" not in things["compute/targetHttpsProxies/extension"]


def test_what_runs_by_the_clock_is_sent_as_on_one_machine(deployed: Operator) -> None:
    for name, schedule in load_schedules().items():
        target = deployed.cloud.things[f"job/{name}"]["httpTarget"]
        service = schedule.function.replace("_", "-")
        assert target["uri"].startswith(f"https://{service}-123456789012.{REGION}.run.app/tasks/")
        assert target["oidcToken"]["audience"] == f"https://{service}-123456789012.{REGION}.run.app"


def test_everything_deployed_comes_from_our_own_files(deployed: Operator) -> None:
    names = {name.partition("/")[2] for name in deployed.cloud.things if name.startswith("service/")}
    assert names == {
        path.name.replace("_", "-") for path in (REPOSITORY / "functions").iterdir() if path.is_dir()
    }
