"""What the scripts are handed: made from our own files, and held together with the code that is deployed."""

import ast
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.tasks_v2 import Queue

from deploy.gcp import access, balancer, files, preflight, queues, quotas, revisions
from deploy.gcp.naming import Place
from deploy.local.path_templates import path_matcher
from deploy.staging import REPOSITORY, Function, load_functions, load_routes, load_schedules
from shared.direction import Direction
from shared.jobs import cloud_tasks as tasks
from shared.tenants.tenants import is_tenant_name
from tests.deploy.gcp.message_classes import output_only

PLACE = Place(project="p", number="1", region="europe-west1", domain="e.example.com")
FIRESTORE = yaml.safe_load((REPOSITORY / "deploy/gcp/firestore.yaml").read_text(encoding="utf-8"))
TASKS = "serviceAccount:tasks-caller@p.iam.gserviceaccount.com"


def a_function(name: str = "targets") -> Function:
    return load_functions()[name]


def stores() -> dict[str, str]:
    """Return the source of each module of shared/ that names a collection, by that collection's group."""
    found = {}
    for path in (REPOSITORY / "shared").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for group in re.findall(
            r'^COLLECTION = "(\w+)"|f"tenants/\{tenant\}/(?:\w+/\{\w+\}/)?(\w+)"', source, re.MULTILINE
        ):
            found["".join(group)] = source
    return found


def names_in(source: str) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


class TestFirestore:
    def test_every_collection_whose_documents_expire_has_a_policy(self) -> None:
        expiring = {group for group, source in stores().items() if "expire_at" in names_in(source)}
        assert expiring == set(FIRESTORE["expiring"])

    def test_times_that_rise_are_not_indexed(self) -> None:
        left_out = FIRESTORE["never_searched"]
        for group in FIRESTORE["expiring"]:
            assert "expire_at" in left_out[group], group
        for group, source in stores().items():
            if group != "tenants":  # few, and changed by hand
                times = {name for name in names_in(source) if re.fullmatch(r"at|[a-z_]+_at", name)}
                times -= {"reversed_at"}  # a part of `told`: what is left out takes its parts along
                beside = [other for other, its_source in stores().items() if its_source == source]
                assert times <= {name for other in beside for name in left_out.get(other, [])}, group

    def test_nothing_is_searched_by_a_field_that_is_not_indexed(self) -> None:
        for group, fields in FIRESTORE["never_searched"].items():
            searched = searched_in(stores()[group])
            assert not searched & set(fields), group

    def test_every_store_is_known_here(self) -> None:
        assert {"tenants", "inbox", "leases", "dead_jobs"} <= stores().keys()
        assert set(FIRESTORE["never_searched"]) <= stores().keys()


def searched_in(source: str) -> set[str]:
    """Return the fields that `where` names in a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        value: Any = None
        if (isinstance(node, ast.keyword) and node.arg == "where") or (
            isinstance(node, ast.Assign | ast.AnnAssign) and "where" in ast.unparse(node).split("=")[0]
        ):
            value = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._all":
            value = node.args[-1]
        if isinstance(value, ast.Dict):
            found |= {str(key.value) for key in value.keys if isinstance(key, ast.Constant)}
    return found


class TestAccess:
    def test_what_is_so_already_is_left_alone(self) -> None:
        wanted = {"roles/run.invoker": {TASKS}}
        after = access.merged({"etag": "x"}, wanted, PLACE)
        assert after == {"etag": "x", "bindings": [{"role": "roles/run.invoker", "members": [TASKS]}]}
        assert access.merged(after, wanted, PLACE) is None

    def test_everybody_is_shut_out_and_strangers_are_kept(self) -> None:
        policy = {
            "bindings": [
                {"role": "roles/run.invoker", "members": ["allUsers", "user:canary-x@example.com"]},
                {"role": "roles/owner", "members": ["user:canary-x@example.com"]},
                {"role": "roles/editor", "members": ["allUsers"], "condition": {"title": "never"}},
            ]
        }
        after = access.merged(policy, {"roles/run.invoker": {TASKS}}, PLACE)
        assert after is not None
        assert after["bindings"] == [
            {"role": "roles/owner", "members": ["user:canary-x@example.com"]},
            {"role": "roles/run.invoker", "members": [TASKS, "user:canary-x@example.com"]},
            {"role": "roles/editor", "members": ["allUsers"], "condition": {"title": "never"}},
        ]

    def test_a_right_that_is_not_wanted_any_more_is_taken_away(self) -> None:
        policy = {"bindings": [{"role": "roles/editor", "members": [TASKS]}]}
        assert access.merged(policy, {}, PLACE) == {"bindings": []}


class TestBalancer:
    def test_the_first_match_of_the_url_map_is_that_of_the_local_gateway(self) -> None:
        (matcher,) = balancer.url_map(load_routes(), PLACE)["pathMatchers"]
        rules = sorted(matcher["routeRules"], key=lambda rule: rule["priority"])
        for route in load_routes():
            path = re.sub(r"\{\w+=\*\}", "acme", route.path).replace("**", "x")
            local = next(row.function for row in load_routes() if path_matcher(row.path)(path))
            led = next(
                rule["service"].rpartition("/")[2]
                for rule in rules
                if path_matcher(rule["matchRules"][0]["pathTemplateMatch"])(path)
            )
            assert led == local.replace("_", "-")

    def test_nothing_that_is_sent_is_output_only(self, tmp_path: Path) -> None:
        files.write_plan(tmp_path, PLACE)
        kinds = {
            "backend-*.json": ("compute/v1", "BackendService"),
            "policy-[0-9]*.json": ("compute/v1", "SecurityPolicy"),
            "*-map.json": ("compute/v1", "UrlMap"),
            "alert-*.json": ("monitoring/v3", "AlertPolicy"),
            "dashboard.json": ("monitoring/v1", "Dashboard"),
            "metric-*.json": ("logging/v2", "LogMetric"),
        }
        for pattern, (api, name) in kinds.items():
            written = [json.loads(path.read_text()) for path in tmp_path.glob(pattern)]
            assert written, pattern
            for thing in written:
                assert not thing.keys() & output_only(api, name), pattern

    def test_a_changed_path_is_another_fingerprint(self) -> None:
        routes = load_routes()
        one, other = balancer.url_map(routes, PLACE), balancer.url_map(routes[:-1], PLACE)
        assert one["description"] != other["description"]
        assert one["description"] == balancer.url_map(load_routes(), PLACE)["description"]


def a_service(**changes: Any) -> dict[str, Any]:
    """Return what gcloud lists of a service that runs its newest revision."""
    service: dict[str, Any] = {
        "metadata": {"name": "targets", "labels": {"fingerprint": "f1"}},
        "spec": {
            "template": {"spec": {"containers": [{"env": [{"name": "KLAVIYO_CLIENT_ID", "value": "app"}]}]}}
        },
        "status": {
            "latestCreatedRevisionName": "targets-2",
            "latestReadyRevisionName": "targets-2",
            "traffic": [
                {"revisionName": "targets-2", "percent": 100, "tag": "candidate"},
                {"revisionName": "targets-1", "tag": "previous"},
            ],
        },
    }
    service["status"] |= changes
    return service


class TestRevisions:
    @pytest.mark.parametrize(
        ("fingerprint", "changes", "action"),
        [
            ("f1", {}, "nothing"),
            ("f2", {}, "upgrade"),
            # What would have been the newest never started: the one of this fingerprint is not there.
            ("f1", {"latestCreatedRevisionName": "targets-3"}, "upgrade"),
            ("f1", {"traffic": [{"revisionName": "targets-1", "percent": 100}]}, "promote"),
            (
                "f1",
                {
                    "traffic": [
                        {"revisionName": "targets-1", "percent": 50},
                        {"revisionName": "targets-2", "percent": 50},
                    ]
                },
                "promote",
            ),
        ],
    )
    def test_what_is_done_follows_from_what_runs(
        self, fingerprint: str, changes: dict[str, Any], action: str
    ) -> None:
        assert revisions.action(fingerprint, revisions.Running.read(a_service(**changes))) == action

    def test_what_has_never_been_ready_is_mended_with_calls_because_they_have_no_other_place(self) -> None:
        never = a_service(latestReadyRevisionName="", traffic=[{"latestRevision": True, "percent": 100}])
        assert revisions.action("f2", revisions.Running.read(never)) == "mend"
        assert revisions.action("f1", revisions.Running.read(never)) == "mend"

    def test_what_does_not_run_is_made(self) -> None:
        assert revisions.action("f1", None) == "create"

    def test_the_revision_before_is_known_by_its_tag(self) -> None:
        running = revisions.Running.read(a_service())
        assert (running.serving, running.previous) == ("targets-2", "targets-1")

    def test_a_variable_that_was_given_once_stays(self) -> None:
        function = a_function("install")
        running = revisions.Running.read(a_service())
        assert revisions.variables(function, PLACE, {}, running)["KLAVIYO_CLIENT_ID"] == "app"
        given = {"KLAVIYO_CLIENT_ID": "other"}
        assert revisions.variables(function, PLACE, given, running)["KLAVIYO_CLIENT_ID"] == "other"
        assert "KLAVIYO_CLIENT_ID" not in revisions.variables(function, PLACE, {}, None)

    def test_everything_that_is_wrong_with_the_variables_is_said_at_once_and_by_name(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "services.json").write_text("")
        (tmp_path / "secrets-found").write_text("encryption-keys\n")
        with pytest.MonkeyPatch.context() as patched:
            for name in revisions.STAND_IN:
                patched.delenv(name, raising=False)
            patched.delenv("KLAVIYO_CLIENT_ID", raising=False)
            patched.setenv("OMNEO_API_URL", "https://canary.example.com")
            said = files.variable_problems(tmp_path, PLACE)
        assert [line.split()[0] for line in said] == [
            "KLAVIYO_CLIENT_ID",
            "KLAVIYO_CLIENT_SECRET",
            "OMNEO_API_URL",
        ]
        assert "canary" not in str(said)

    def test_the_operators_own_shell_does_not_decide_where_things_are(self) -> None:
        shell = {
            "STORE": "sqlite:x",
            "QUEUE": "local",
            "EXTENSION_URL": "http://127.0.0.1",
            "KLAVIYO_CLIENT_ID": "app",
        }
        given = revisions.variables(a_function("install"), PLACE, shell, None)
        assert (given["STORE"], given["QUEUE"]) == ("firestore", "cloud-tasks")
        assert given["EXTENSION_URL"] == "https://e.example.com"

    def test_source_variables_and_secrets_each_make_another_fingerprint(self, tmp_path: Path) -> None:
        (tmp_path / "main.py").write_text("x = 1")
        function = a_function()

        def mark(variables: dict[str, str], secrets: dict[str, str]) -> str:
            return revisions.wanted_fingerprint(function, tmp_path, variables, secrets)

        marks = {mark({}, {}), mark({"A": "1"}, {}), mark({}, {"A": "1"})}
        (tmp_path / "main.py").write_text("x = 2")
        marks.add(mark({}, {}))
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared/y.py").write_text("")
        marks.add(mark({}, {}))
        assert len(marks) == 5
        assert all(re.fullmatch(r"[0-9a-f]{1,63}", one) for one in marks)  # a label's value

    def test_a_smoke_call_reaches_its_function_and_names_no_tenant_there_is(self) -> None:
        for function in load_functions().values():
            path = revisions.smoke_path(function, load_routes())
            if not function.public:
                assert not path.startswith("/tasks")
            elif "{tenant" in "".join(
                route.path for route in load_routes() if route.function == function.name
            ):
                assert is_tenant_name(path.split("/")[1])
                first = next(row.function for row in load_routes() if path_matcher(row.path)(path))
                assert first == function.name


class TestDeadlines:
    def test_the_platform_waits_longer_than_we_do(self) -> None:
        for function in load_functions().values():
            # Callers wait ten seconds at most, and we give up before them; a worker's task is given 280.
            ours = timedelta(seconds=30) if function.public else tasks._DEADLINE
            assert timedelta(seconds=function.timeout) > ours

    def test_what_klaviyo_calls_and_waits_for_is_kept_warm(self) -> None:
        waiting = {route.function for route in load_routes() if "/webhooks/klaviyo/" in route.path}
        assert all(load_functions()[name].min_instances >= 1 for name in waiting)


class TestQueues:
    def listed(self, id: str, direction: Direction) -> dict[str, Any]:
        queue = Queue.to_dict(tasks.queue_settings(direction), use_integers_for_enums=False)
        return {
            "name": f"projects/p/locations/l/queues/{id}",
            "rateLimits": {
                "maxBurstSize": 10,
                "maxConcurrentDispatches": queue["rate_limits"]["max_concurrent_dispatches"],
                "maxDispatchesPerSecond": queue["rate_limits"]["max_dispatches_per_second"],
            },
            "retryConfig": {
                "maxAttempts": -1,
                "maxBackoff": "600s",
                "minBackoff": "1s",
                "maxDoublings": queue["retry_config"]["max_doublings"],
            },
            "state": "RUNNING",
        }

    @pytest.mark.parametrize("direction", Direction)
    def test_a_queue_as_installing_makes_it_is_left_alone(self, direction: Direction) -> None:
        assert list(queues.differing([self.listed(f"acme-klaviyo-{direction}", direction)])) == []

    def test_one_that_differs_is_set_and_what_is_no_tenants_is_not(self) -> None:
        stale = self.listed("acme-klaviyo-outbound", Direction.OUTBOUND)
        stale["retryConfig"]["maxAttempts"] = 5
        other = {"name": "projects/p/locations/l/queues/smoke", "retryConfig": {"maxAttempts": 1}}
        assert list(queues.differing([stale, other])) == [
            ["acme-klaviyo-outbound", "50", "20", "unlimited", "1s", "600s", "10"]
        ]


def test_every_schedule_divides_an_hour_or_a_day() -> None:
    for schedule in load_schedules().values():
        assert 60 % schedule.every == 0 or (schedule.every % 60 == 0 and 1440 % schedule.every == 0)
        assert files._cron(schedule.every)


class TestQuotas:
    def short(self, backends: int, policies: int) -> dict[str, str]:
        listed = [
            {"metric": "BACKEND_SERVICES", "limit": float(backends), "usage": 1.0},
            {"metric": "SECURITY_POLICIES", "limit": float(policies), "usage": 0.0},
        ]
        found = quotas.shortages(listed, load_functions(), backends=["targets"], policies=[])
        return {shortage.quota: shortage.kind for shortage in found}

    def test_too_few_backend_services_end_the_run_and_no_policies_only_warn(self) -> None:
        assert self.short(50, 10) == {}
        assert self.short(5, 0) == {"BACKEND_SERVICES": "problem", "SECURITY_POLICIES": "warning"}

    def test_what_is_there_already_needs_no_more(self) -> None:
        public = [f.name.replace("_", "-") for f in load_functions().values() if f.public]
        full = [{"metric": "BACKEND_SERVICES", "limit": 6.0, "usage": 6.0}]
        assert list(quotas.shortages(full, load_functions(), backends=public, policies=[])) == []


class TestPreflight:
    def test_an_old_gcloud_without_components_is_told_of_both(self) -> None:
        said = list(preflight.of_gcloud({"Google Cloud SDK": "470.0.0", "beta": "2024.01.01"}))
        assert len(said) == 2
        assert "components install alpha" in said[1]
        assert list(preflight.of_gcloud({"Google Cloud SDK": "528.0.0", "alpha": "1", "beta": "1"})) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PROJECT", "My Project"),
            ("PROJECT", "123456789012"),
            ("REGION", "europe"),
            ("REGION", "europe-west1-b"),
            ("DOMAIN", "https://e.example.com"),
            ("DOMAIN", "e.example.com/path"),
            ("DOMAIN", "localhost"),
            ("DOMAIN", "E.example.com"),
        ],
    )
    def test_a_variable_of_the_wrong_form_is_named(self, name: str, value: str) -> None:
        (said,) = preflight.of_variables([name], {name: value})
        assert said.startswith(name)

    def test_variables_of_the_right_form_pass(self) -> None:
        right = {
            "PROJECT": "my-project-1",
            "REGION": "northamerica-northeast1",
            "DOMAIN": "a-b.example.co.uk",
        }
        assert list(preflight.of_variables(right, right)) == []
