"""What comes after a first deployment: a run that broke off, upgrades good and bad, the way back, and the end.

Most of it shares one project, in the order of this file; a story that needs more than a first deployment sees to it itself, so
that it can be run alone. `make test-deploy` runs all, because it takes minutes of gcloud.
"""

import json
from collections.abc import Iterator

import pytest

from deploy.gcp.plan import APIS
from shared.direction import Direction
from shared.jobs.cloud_tasks import queue_settings
from tests.deploy.gcp.cloud import Cloud, Request, Thing
from tests.deploy.gcp.gcloud import DOMAIN, Operator, Ran, variables_of

UPGRADE = "2027-01-15"  # a KLAVIYO_REVISION
THEIR_RECORD = f"zone/shop/{DOMAIN}.|A"
OUR_RECORD = f"zone/shop/_acme-challenge.{DOMAIN}.|CNAME"
ANOTHER_KEY = "canary" + "A" * 37 + "="

pytestmark = pytest.mark.deploy


def service(operator: Operator, name: str) -> Thing:
    thing: Thing = operator.cloud.things[f"service/{name}"]
    return thing


def serving(operator: Operator, name: str) -> str:
    """Return the revision that takes all calls."""
    (revision,) = (
        row["revisionName"] for row in service(operator, name)["status"]["traffic"] if row.get("percent")
    )
    assert isinstance(revision, str)
    return revision


@pytest.fixture(autouse=True)
def as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each story the shared cloud fails, starts and answers again as before it."""
    if "deployed" not in request.fixturenames:
        yield
        return
    cloud = request.getfixturevalue("deployed").cloud
    before = {name: getattr(cloud, name) for name in ("fails", "starts", "answers", "smoke_status")}
    yield
    for name, behaviour in before.items():
        setattr(cloud, name, behaviour)


@pytest.fixture
def upgraded(deployed: Operator) -> Operator:
    """An operator who has also deployed an upgrade, which calls went to: here, if no story before this one has."""
    if variables_of(service(deployed, "admin")).get("KLAVIYO_REVISION") != UPGRADE:
        assert deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE).status == 0
    return deployed


def test_a_run_that_broke_off_is_finished_by_the_next(operator: Operator) -> None:
    cloud = operator.cloud
    struck = {"iam": 2, "firestore": 3, "compute": 5, "run": 2, "monitoring": 2}

    def fails(request: Request) -> int | None:
        if not request.changes or request.service not in struck:
            return None
        struck[request.service] -= 1
        return 403 if struck[request.service] < 0 else None

    cloud.fails = fails
    first = operator.runs("deploy.sh")
    assert first.status != 0
    assert "what is done stays done: mend this and run the same command again" in first.said
    cloud.fails = lambda _: None
    second = operator.runs("deploy.sh")
    assert second.status == 0
    third = operator.runs("deploy.sh")
    assert (third.status, third.changes) == (0, [])


def test_an_upgrade_takes_calls_only_after_it_has_answered_one(deployed: Operator) -> None:
    before = {name: serving(deployed, name) for name in ("targets", "outbound-worker", "admin")}
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE)
    assert ran.status == 0
    # Only what is given the variable has changed.
    assert serving(deployed, "targets") == before["targets"]
    for name in ("outbound-worker", "admin"):
        assert serving(deployed, name) != before[name]
        assert variables_of(service(deployed, name))["KLAVIYO_REVISION"] == UPGRADE
    order = [change for change in ran.changes if change.startswith(("run PUT", "cloudtasks POST"))]
    called = [n for n, change in enumerate(order) if "/tasks" in change]
    assert called
    given = [line for line in ran.said.splitlines() if "calls go to" in line]  # a tenth of them, then all
    assert ran.said.index("calling outbound-worker") < ran.said.index(given[0])
    assert ["worker" in line for line in given] == [True] * 4 + [False] * 4  # workers first, to the end


def test_what_was_given_once_stays_without_being_given_again(deployed: Operator) -> None:
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_CLIENT_ID="", KLAVIYO_CLIENT_SECRET="")
    assert ran.status != 0
    assert "KLAVIYO_CLIENT_ID is not set" in ran.said  # an empty value takes it away
    assert ran.changes == []


def test_rollback_gives_calls_back_and_may_be_repeated(upgraded: Operator) -> None:
    newest = serving(upgraded, "admin")
    ran = upgraded.runs("rollback.sh")
    assert ran.status == 0
    assert serving(upgraded, "admin") != newest
    again = upgraded.runs("rollback.sh")
    assert (again.status, again.changes) == (0, [])
    alone = upgraded.runs("rollback.sh", FUNCTION="nobody")
    assert alone.status != 0


def test_the_next_deployment_goes_forward_again_without_building(upgraded: Operator) -> None:
    assert upgraded.runs("rollback.sh").status == 0  # again, or for the first time
    before = serving(upgraded, "admin")
    ran = upgraded.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE)
    assert ran.status == 0
    assert not [change for change in ran.changes if "builds:submit" in change]
    assert serving(upgraded, "admin") != before


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_revision_that_answers_wrongly_takes_no_calls(deployed: Operator, status: int) -> None:
    before = {
        name: serving(deployed, name) for name in ("inbound-worker", "outbound-worker", "admin", "install")
    }
    deployed.cloud.smoke_status = lambda name: status if name == "install" else 401
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=f"2027-02-{status % 28 + 1:02d}")
    assert ran.status != 0
    assert f"answered {status}; calls go where they went before" in ran.said
    assert {name: serving(deployed, name) for name in before} == before


def shares(operator: Operator, name: str) -> dict[str, int]:
    """Return how many in a hundred calls each revision takes."""
    routed = service(operator, name)["status"]["traffic"]
    return {row["revisionName"]: row["percent"] for row in routed if row.get("percent")}


def test_an_upgrade_takes_a_tenth_of_the_calls_and_all_when_it_answers_as_the_one_before(
    deployed: Operator,
) -> None:
    before = serving(deployed, "outbound-worker")
    seen = []

    def answers(revision: str) -> dict[str, int]:
        seen.append(shares(deployed, "outbound-worker"))
        return {"2xx": 90, "5xx": 10}  # Klaviyo fails, for both

    deployed.cloud.answers = answers
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-03-01", WATCH_MINUTES="2")
    assert ran.status == 0
    newest = serving(deployed, "outbound-worker")
    assert newest != before
    assert seen[0] == {newest: 10, before: 90}
    assert "10 % of its calls go to" in ran.said
    assert len({line for line in ran.said.splitlines() if "watched for 2 minutes" in line}) >= 4


def test_an_upgrade_that_answers_worse_than_the_one_before_goes_back(deployed: Operator) -> None:
    before = {name: shares(deployed, name) for name in ("outbound-worker", "admin")}
    (old,) = before["outbound-worker"]
    deployed.cloud.answers = lambda revision: (
        {"2xx": 8, "5xx": 2} if "outbound-worker" in revision and revision != old else {"2xx": 80}
    )
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-03-02")
    assert ran.status != 0
    assert "outbound-worker: 2 of 10 calls failed" in ran.said
    assert {name: shares(deployed, name) for name in before} == before


def test_what_cannot_be_watched_takes_no_more_calls(deployed: Operator) -> None:
    before = shares(deployed, "outbound-worker")
    deployed.cloud.fails = lambda request: 403 if "timeSeries" in request.path else None
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-03-02")
    assert ran.status != 0
    assert "cannot be seen; calls go where they went before" in ran.said
    assert shares(deployed, "outbound-worker") == before


def break_off(deployed: Operator) -> None:
    """End a run while an upgrade takes a tenth of the calls."""
    deployed.cloud.fails = lambda request: (
        403 if "timeSeries" in request.path or (request.changes and shared(deployed)) else None
    )
    assert deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-03-02").status != 0
    deployed.cloud.fails = lambda _: None
    assert shared(deployed)


def shared(deployed: Operator) -> bool:
    return len(shares(deployed, "outbound-worker")) == 2 and len(shares(deployed, "inbound-worker")) == 2


def test_a_rollback_ends_an_upgrade_that_broke_off(deployed: Operator) -> None:
    (before,) = shares(deployed, "outbound-worker")
    break_off(deployed)
    ran = deployed.runs("rollback.sh")
    assert ran.status == 0
    assert shares(deployed, "outbound-worker") == {before: 100}


def test_the_next_run_goes_on_with_an_upgrade_that_broke_off(deployed: Operator) -> None:
    (before,) = shares(deployed, "outbound-worker")
    break_off(deployed)
    deployed.cloud.answers = lambda _: {}  # nobody calls
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-03-02", WATCH_MINUTES="1")
    assert ran.status == 0
    assert not [change for change in ran.changes if "builds:submit" in change]
    assert before not in shares(deployed, "outbound-worker")
    back = deployed.runs("rollback.sh")
    assert back.status == 0
    assert shares(deployed, "outbound-worker") == {before: 100}


def test_queues_of_tenants_follow_queues_toml_and_a_paused_one_stays_paused(deployed: Operator) -> None:
    where = "projects/demo-project/locations/europe-west1/queues"
    stale = {"rateLimits": {"maxDispatchesPerSecond": 5}, "retryConfig": {"maxAttempts": 3}}
    deployed.cloud.things["queue/acme-klaviyo-outbound"] = {
        "name": f"{where}/acme-klaviyo-outbound",
        "state": "PAUSED",
        **json.loads(json.dumps(stale)),
    }
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE)
    assert ran.status == 0
    queue = deployed.cloud.things["queue/acme-klaviyo-outbound"]
    wanted = queue_settings(Direction.OUTBOUND).rate_limits.max_dispatches_per_second
    assert queue["rateLimits"]["maxDispatchesPerSecond"] == wanted
    assert queue["retryConfig"]["maxAttempts"] == -1
    assert queue["state"] == "PAUSED"
    again = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE)
    assert (again.status, again.changes) == (0, [])


def test_what_an_earlier_version_made_and_this_one_does_not_know_goes(deployed: Operator) -> None:
    mark = "0123456789abcdef0123"
    where = "projects/demo-project/locations/europe-west1/jobs"
    caller = {"oidcToken": {"serviceAccountEmail": "schedule-caller@demo-project.iam.gserviceaccount.com"}}
    theirs = {"oidcToken": {"serviceAccountEmail": "canary-others@demo-project.iam.gserviceaccount.com"}}
    gone: dict[str, Thing] = {
        "alert/1": {
            "name": "projects/demo-project/alertPolicies/1",
            "userLabels": {"alert": "old", "fingerprint": mark},
        },
        "metric/extension_old": {"name": "extension_old", "filter": "x", "description": f"Old ({mark})"},
        "job/old": {"name": f"{where}/old", "description": mark, "httpTarget": caller},
        "compute/securityPolicies/per-address-60": {"name": "per-address-60", "description": mark},
    }
    kept: dict[str, Thing] = {
        "alert/2": {"name": "projects/demo-project/alertPolicies/2", "userLabels": {"alert": "disk"}},
        "metric/extension_theirs": {"name": "extension_theirs", "filter": "x", "description": "theirs"},
        "job/theirs": {"name": f"{where}/theirs", "description": mark, "httpTarget": theirs},
        "compute/securityPolicies/per-address-7": {"name": "per-address-7", "description": "theirs"},
    }
    deployed.cloud.things |= gone | kept
    ran = deployed.runs("deploy.sh", KLAVIYO_REVISION=UPGRADE, WATCH_MINUTES="0")
    assert ran.status == 0
    assert not gone.keys() & deployed.cloud.things.keys()
    assert kept.keys() <= deployed.cloud.things.keys()
    for name in kept:
        del deployed.cloud.things[name]


def test_keys_of_another_environment_are_refused(deployed: Operator) -> None:
    ran = deployed.runs("deploy.sh", ONLY="bundle", ENCRYPTION_KEYS=f"k1:{ANOTHER_KEY}")
    assert ran.status != 0
    assert "holds none of the keys in use" in ran.said
    assert "secret/encryption-keys/2" not in deployed.cloud.things


def test_a_new_key_is_a_new_revision(deployed: Operator) -> None:
    old = deployed.cloud.things["secret/encryption-keys/1"]["canary"]
    both = f"{old},k2:{ANOTHER_KEY}"
    ran = deployed.runs("deploy.sh", ONLY="bundle", ENCRYPTION_KEYS=both)
    assert ran.status == 0
    assert variables_of(service(deployed, "targets"))["ENCRYPTION_KEYS"] == "encryption-keys:2"
    assert "canary" not in ran.said


def hold_a_zone(cloud: Cloud) -> None:
    """Let Cloud DNS of the project hold the zone of our names, as it does from then on."""
    api = "dns.googleapis.com"
    cloud.things[f"api/{api}"] = {"name": f"x/{api}", "config": {"name": api}, "state": "ENABLED"}
    cloud.things["zone/shop"] = {"name": "shop", "dnsName": "example.com."}


def test_another_domain_is_no_outage(deployed: Operator) -> None:
    cloud = deployed.cloud
    new = "new.example.com"
    hold_a_zone(cloud)

    def move(**variables: str) -> tuple[int, str]:
        ran = deployed.runs("deploy.sh", ONLY="balancer", DOMAIN=new, **variables)
        return ran.status, ran.said

    def served() -> list[str]:
        (rule,) = cloud.things["compute/urlMaps/extension"]["hostRules"]
        return sorted(rule["hosts"])

    def become_active() -> None:
        for name, thing in cloud.things.items():
            if "/certificates/" in name and thing["managed"]["domains"] == [new]:
                thing["managed"]["state"] = "ACTIVE"

    refused = deployed.runs("deploy.sh", ONLY="balancer", DOMAIN=new)
    assert (refused.status != 0, refused.changes) == (True, [])  # nobody is there to answer
    status, said = move(YES="1")
    assert (status, served()) == (0, [DOMAIN, new])
    assert f"{DOMAIN} serves on until the certificate of {new} is active" in said
    assert cloud.things[f"zone/shop/{new}.|A"]["rrdatas"] == ["203.0.113.7"]
    assert f"zone/shop/_acme-challenge.{new}.|CNAME" in cloud.things
    assert "set this DNS record" not in said
    become_active()
    status, said = move()
    assert (status, served()) == (0, [DOMAIN, new])
    assert f"serves on until {new} leads to 203.0.113.7" in said
    cloud.resolves[new] = ("203.0.113.7",)
    cloud.called_under.add(DOMAIN)
    status, said = move()
    assert (status, served()) == (0, [DOMAIN, new])
    assert "serves on as long as it is called" in said
    cloud.called_under.clear()
    status, said = move()
    assert (status, served()) == (0, [new])
    entries = [thing["hostname"] for name, thing in cloud.things.items() if "/certificateMapEntries/" in name]
    assert entries == [new]
    assert f"zone/shop/_acme-challenge.{new}.|CNAME" in cloud.things


def deploy_beside_a_strangers_record(deployed: Operator) -> Ran:
    """Deploy the name while the zone holds a record of it that leads to somebody else's address."""
    hold_a_zone(deployed.cloud)
    deployed.cloud.things[THEIR_RECORD] = {"name": f"{DOMAIN}.", "type": "A", "rrdatas": ["198.51.100.1"]}
    return deployed.runs("deploy.sh", ONLY="balancer", YES="1")


def test_a_record_of_somebody_elses_is_left_alone(deployed: Operator) -> None:
    ran = deploy_beside_a_strangers_record(deployed)
    assert ran.status == 0
    assert f"set this DNS record: {DOMAIN}. A 203.0.113.7 (there is another record of this name" in ran.said
    assert deployed.cloud.things[THEIR_RECORD]["rrdatas"] == ["198.51.100.1"]
    assert OUR_RECORD in deployed.cloud.things


def test_a_first_revision_that_never_starts_is_mended_by_the_next_run(operator: Operator) -> None:
    operator.cloud.starts = lambda service: service["metadata"]["name"] != "targets"
    first = operator.runs("deploy.sh", ONLY="bundle")
    assert first.status != 0
    assert "failed     in functions" in first.said
    operator.cloud.starts = lambda _: True
    second = operator.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=UPGRADE)
    assert second.status == 0
    assert serving(operator, "targets")


def test_what_the_project_lacks_is_said_at_once_before_anything_is_made(operator: Operator) -> None:
    operator.cloud.billing = False
    operator.cloud.withheld = {"run.services.create", "dns.changes.create"}
    ran = operator.runs("deploy.sh", KLAVIYO_CLIENT_ID="")
    assert ran.status != 0
    assert "billing is off" in ran.said
    assert "you lack 1 permissions of the role in deploy/gcp/deployer.yaml: run.services.create" in ran.said
    assert "KLAVIYO_CLIENT_ID" in ran.said
    assert ran.changes == []


def test_instances_that_may_cost_more_than_the_ceiling_are_not_deployed(operator: Operator) -> None:
    ran = operator.runs("deploy.sh", COST_CEILING="5000")
    assert (ran.status != 0, ran.changes) == (True, [])
    assert "more than the ceiling of 5,000" in ran.said
    planned = operator.runs("deploy.sh", COST_CEILING="5000", ANYWAY="1", DRY_RUN="1")
    assert (planned.status, planned.changes) == (0, [])
    assert "warning: the instances may cost" in planned.said


def test_a_region_that_lacks_a_service_is_said_before_anything_is_made(operator: Operator) -> None:
    ran = operator.runs("deploy.sh", REGION="europe-west9")
    assert ran.status != 0
    assert "europe-west9 has no" in ran.said
    assert {change.split()[0] for change in ran.changes} == {"serviceusage"}


def test_too_few_quotas_are_said_before_anything_is_made(operator: Operator) -> None:
    operator.cloud.quotas |= {"BACKEND_SERVICES": 5, "SECURITY_POLICIES": 0}
    ran = operator.runs("deploy.sh")
    assert ran.status != 0
    assert "quota BACKEND_SERVICES" in ran.said
    assert {change.split()[0] for change in ran.changes} == {"serviceusage"}


def test_without_a_quota_for_limits_the_rest_stands_and_the_doctor_is_told_until_there_is_one(
    operator: Operator,
) -> None:
    operator.cloud.quotas["SECURITY_POLICIES"] = 0
    ran = operator.runs("deploy.sh")
    assert ran.status == 0
    assert "no address is limited" in ran.said
    assert "compute/backendServices/admin" in operator.cloud.things
    assert "securityPolicy" not in operator.cloud.things["compute/backendServices/admin"]
    assert variables_of(service(operator, "admin")).get("ADDRESS_LIMITS") == "none"
    operator.cloud.quotas["SECURITY_POLICIES"] = 10
    assert operator.runs("deploy.sh", WATCH_MINUTES="0").status == 0
    assert operator.cloud.things["compute/backendServices/admin"]["securityPolicy"]
    assert "ADDRESS_LIMITS" not in variables_of(service(operator, "admin"))


def test_another_region_than_that_of_the_functions_is_refused(deployed: Operator) -> None:
    for script in ("deploy.sh", "destroy.sh", "status.sh"):
        ran = deployed.runs(script, REGION="europe-west6", YES="1")
        assert (ran.status != 0, ran.changes) == (True, [])
        assert "the functions are in europe-west1: give REGION=europe-west1" in ran.said
    back = deployed.runs("rollback.sh", REGION="europe-west6")
    assert back.status != 0
    assert "nothing of the extension is in europe-west6" in back.said


def test_destroy_removes_nothing_without_a_yes(deployed: Operator) -> None:
    for variables in ({"DRY_RUN": "1"}, {}):
        ran = deployed.runs("destroy.sh", **variables)
        assert ran.changes == []
        assert "function targets" in ran.said


def test_destroy_takes_nothing_of_somebody_elses_that_is_called_as_ours(operator: Operator) -> None:
    cloud = operator.cloud
    for api in APIS:
        name = f"{api}.googleapis.com"
        cloud.things[f"api/{name}"] = {"name": f"x/{name}", "config": {"name": name}, "state": "ENABLED"}
    root = "https://compute.recorder.test/compute/v1/projects/demo-project/global"
    cloud.things |= {
        "compute/addresses/extension": {
            "name": "extension",
            "address": "198.51.100.2",
            "description": "theirs",
        },
        "compute/urlMaps/extension": {"name": "extension", "description": "theirs"},
        "compute/targetHttpsProxies/extension": {
            "name": "extension",
            "urlMap": f"{root}/urlMaps/extension",
            "sslPolicy": f"{root}/sslPolicies/extension",
        },
        "compute/forwardingRules/extension": {
            "name": "extension",
            "target": f"{root}/targetHttpsProxies/extension",
            "IPAddress": "198.51.100.2",
        },
        "compute/sslPolicies/extension": {"name": "extension"},
        "compute/networkEndpointGroups/targets": {"name": "targets", "cloudRun": {"service": "theirs"}},
        "secret/encryption-keys": {"name": "projects/123456789012/secrets/encryption-keys"},
        "account/workers@demo-project.iam.gserviceaccount.com": {
            "name": "x",
            "email": "workers@demo-project.iam.gserviceaccount.com",
            "displayName": "Theirs",
        },
        "backup/1": {
            "name": "projects/demo-project/locations/europe-west1/backups/1",
            "database": "projects/demo-project/databases/theirs",
        },
    }
    ran = operator.runs("destroy.sh", YES="1")
    assert (ran.status, ran.changes) == (0, [])
    assert "there is nothing to remove" in ran.said


def test_destroy_leaves_nothing_behind(deployed: Operator) -> None:
    deployed.cloud.things["policy:project"]["bindings"].append(
        {"role": "roles/owner", "members": ["user:canary-owner@example.com"]}
    )
    cloud = deployed.cloud
    where = "projects/demo-project/locations/europe-west1/queues"
    strangers: dict[str, Thing] = {
        "queue/parcels-inbound": {"name": f"{where}/parcels-inbound", "retryConfig": {"maxAttempts": 5}},
        "metric/extension_of_theirs": {"name": "extension_of_theirs", "filter": "x", "description": "theirs"},
        "alert/theirs": {
            "name": "projects/demo-project/alertPolicies/theirs",
            "userLabels": {"alert": "disk"},
        },
        "channel/theirs": {"name": "projects/demo-project/notificationChannels/theirs", "type": "email"},
    }
    cloud.things |= strangers
    assert deploy_beside_a_strangers_record(deployed).status == 0
    assert OUR_RECORD in cloud.things
    backup = {"database": "projects/demo-project/databases/(default)"}
    cloud.things["backup/1"] = {"name": "projects/demo-project/locations/europe-west1/backups/1", **backup}
    by_hand = f"zone/shop/hand.{DOMAIN}.|A"
    cloud.things[by_hand] = {"name": f"hand.{DOMAIN}.", "type": "A", "rrdatas": ["203.0.113.7"]}
    ran = deployed.runs("destroy.sh", YES="1")
    assert ran.status == 0
    assert f"the DNS record hand.{DOMAIN}. A leads to the address that goes" in ran.said
    left = {
        name
        for name in cloud.things
        if name.split("/")[0] not in {"api", "build", "operation", "log", "ready"}
    }
    kept_on_purpose = {
        "queue/smoke",
        "bucket/run-sources-demo-project-europe-west1",
        "zone/shop",
        THEIR_RECORD,
        by_hand,
    }
    assert {name for name in left if not name.startswith("policy:")} == strangers.keys() | kept_on_purpose
    assert deployed.cloud.things["policy:project"]["bindings"] == [
        {"role": "roles/owner", "members": ["user:canary-owner@example.com"]}
    ]
    again = deployed.runs("destroy.sh", YES="1")
    assert (again.status, again.changes) == (0, [])
    assert "there is nothing to remove" in again.said
