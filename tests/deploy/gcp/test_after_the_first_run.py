"""What comes after a first deployment: a run that broke off, upgrades good and bad, the way back, and the end.

One project for all of it, in the order of this file; `make test-deploy` runs it, because it takes minutes of gcloud.
"""

import json

import pytest

from tests.deploy.gcp.cloud import Request, Thing
from tests.deploy.gcp.gcloud import Operator, variables_of

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
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-01-15")
    assert ran.status == 0
    # Only what is given the variable has changed.
    assert serving(deployed, "targets") == before["targets"]
    for name in ("outbound-worker", "admin"):
        assert serving(deployed, name) != before[name]
        assert variables_of(service(deployed, name))["KLAVIYO_REVISION"] == "2027-01-15"
    order = [change for change in ran.changes if change.startswith(("run PUT", "cloudtasks POST"))]
    called = [n for n, change in enumerate(order) if "/tasks" in change]
    assert called
    promoted = [line for line in ran.said.splitlines() if "calls go to" in line]
    assert ran.said.index("calling outbound-worker") < ran.said.index(promoted[0])
    assert [line for line in promoted if "worker" in line] == promoted[:2]  # workers first


def test_what_was_given_once_stays_without_being_given_again(deployed: Operator) -> None:
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_CLIENT_ID="", KLAVIYO_CLIENT_SECRET="")
    assert ran.status != 0
    assert "KLAVIYO_CLIENT_ID is not set" in ran.said  # an empty value takes it away
    assert ran.changes == []


def test_rollback_gives_calls_back_and_may_be_repeated(deployed: Operator) -> None:
    newest = serving(deployed, "admin")
    ran = deployed.runs("rollback.sh")
    assert ran.status == 0
    assert serving(deployed, "admin") != newest
    again = deployed.runs("rollback.sh")
    assert (again.status, again.changes) == (0, [])
    alone = deployed.runs("rollback.sh", FUNCTION="nobody")
    assert alone.status != 0


def test_the_next_deployment_goes_forward_again_without_building(deployed: Operator) -> None:
    before = serving(deployed, "admin")
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-01-15")
    assert ran.status == 0
    assert not [change for change in ran.changes if "builds:submit" in change]
    assert serving(deployed, "admin") != before


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_revision_that_answers_wrongly_takes_no_calls(deployed: Operator, status: int) -> None:
    before = {
        name: serving(deployed, name) for name in ("inbound-worker", "outbound-worker", "admin", "install")
    }
    deployed.cloud.smoke_status = lambda name: status if name == "install" else 401
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION=f"2027-02-{status % 28 + 1:02d}")
    deployed.cloud.smoke_status = lambda _: 401
    assert ran.status != 0
    assert f"answered {status}; calls go where they went before" in ran.said
    assert {name: serving(deployed, name) for name in before} == before


def test_queues_of_tenants_follow_queues_toml_and_a_paused_one_stays_paused(deployed: Operator) -> None:
    where = "projects/demo-project/locations/europe-west1/queues"
    stale = {"rateLimits": {"maxDispatchesPerSecond": 5}, "retryConfig": {"maxAttempts": 3}}
    deployed.cloud.things["queue/acme-klaviyo-outbound"] = {
        "name": f"{where}/acme-klaviyo-outbound",
        "state": "PAUSED",
        **json.loads(json.dumps(stale)),
    }
    ran = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-01-15")
    assert ran.status == 0
    queue = deployed.cloud.things["queue/acme-klaviyo-outbound"]
    assert queue["rateLimits"]["maxDispatchesPerSecond"] == 50
    assert queue["retryConfig"]["maxAttempts"] == -1
    assert queue["state"] == "PAUSED"
    again = deployed.runs("deploy.sh", ONLY="bundle", KLAVIYO_REVISION="2027-01-15")
    assert (again.status, again.changes) == (0, [])


def test_keys_of_another_environment_are_refused(deployed: Operator) -> None:
    ran = deployed.runs(
        "deploy.sh", ONLY="bundle", ENCRYPTION_KEYS="k1:canaryAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    )
    assert ran.status != 0
    assert "holds none of the keys in use" in ran.said
    assert "secret/encryption-keys/2" not in deployed.cloud.things


def test_a_new_key_is_a_new_revision(deployed: Operator) -> None:
    old = deployed.cloud.things["secret/encryption-keys/1"]["canary"]
    both = f"{old},k2:canaryAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    ran = deployed.runs("deploy.sh", ONLY="bundle", ENCRYPTION_KEYS=both)
    assert ran.status == 0
    assert variables_of(service(deployed, "targets"))["ENCRYPTION_KEYS"] == "encryption-keys:2"
    assert "canary" not in ran.said


def test_destroy_removes_nothing_without_a_yes(deployed: Operator) -> None:
    for variables in ({"DRY_RUN": "1"}, {}):
        ran = deployed.runs("destroy.sh", **variables)
        assert ran.changes == []
        assert "function targets" in ran.said


def test_destroy_leaves_nothing_behind(deployed: Operator) -> None:
    deployed.cloud.things["policy:project"]["bindings"].append(
        {"role": "roles/owner", "members": ["user:canary-owner@example.com"]}
    )
    ran = deployed.runs("destroy.sh", YES="1")
    assert ran.status == 0
    left = {
        name
        for name in deployed.cloud.things
        if name.split("/")[0] not in {"api", "build", "operation", "log"}
    }
    assert {name for name in left if not name.startswith("policy:")} == set()
    assert deployed.cloud.things["policy:project"]["bindings"] == [
        {"role": "roles/owner", "members": ["user:canary-owner@example.com"]}
    ]
    again = deployed.runs("destroy.sh", YES="1")
    assert (again.status, again.changes) == (0, [])
    assert "there is nothing to remove" in again.said
