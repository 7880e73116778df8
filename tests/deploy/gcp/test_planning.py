"""What the scripts are handed: made from our own files, and held together with the code that is deployed."""

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.tasks_v2 import Queue

from deploy.gcp import (
    access,
    balancer,
    costs,
    front,
    overview,
    plan,
    preconditions,
    preflight,
    queues,
    quotas,
    resources,
    revisions,
    rollout,
    upgrade,
)
from deploy.gcp.naming import Place
from deploy.local.path_templates import path_matcher
from deploy.staging import REPOSITORY, Function, load_functions, load_routes, load_schedules
from shared.direction import Direction
from shared.jobs import cloud_tasks as tasks
from shared.tenants.tenants import is_tenant_name
from tests.deploy.gcp.message_classes import output_only
from tests.support.markdown import Page

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

    def test_where_nothing_is_wanted_any_more_only_our_own_go(self) -> None:
        reading = {"role": "roles/browser", "members": ["allAuthenticatedUsers"]}
        after = access.merged({"bindings": [reading, {"role": "roles/x", "members": [TASKS]}]}, {}, PLACE)
        assert after == {"bindings": [reading]}

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
        plan.write_plan(tmp_path, PLACE)
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

    def test_calls_that_are_shared_go_back_to_the_revision_that_has_most_of_them_beside_the_newest(
        self,
    ) -> None:
        shared = [
            {"revisionName": "targets-2", "percent": 10},
            {"revisionName": "targets-1", "percent": 60},
            {"revisionName": "targets-0", "percent": 30},
            {"revisionName": "targets-2", "tag": "candidate"},
        ]
        running = revisions.Running.read(a_service(traffic=shared))
        assert (running.serving, running.before) == ("", "targets-1")
        assert revisions.action("f1", running) == "promote"

    def test_a_tagged_row_of_its_own_takes_nothing_from_the_share(self) -> None:
        rows = [
            {"revisionName": "targets-1", "percent": 50},
            {"revisionName": "targets-1", "percent": 50, "tag": "previous"},
        ]
        assert revisions.Running.read(a_service(traffic=rows)).serving == "targets-1"

    def test_how_an_upgrade_comes_makes_no_other_revision(self, tmp_path: Path) -> None:
        function = a_function()
        slower = function.model_copy(update={"first_share": 1, "watch_minutes": 60})
        marks = {revisions.wanted_fingerprint(f, tmp_path, {}, {}) for f in (function, slower)}
        assert len(marks) == 1

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
            said = preconditions.variable_problems(tmp_path, PLACE)
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

    def test_functions_keep_the_name_of_before_until_the_new_one_serves(self, tmp_path: Path) -> None:
        service = a_service()
        (container,) = service["spec"]["template"]["spec"]["containers"]
        container["env"] = [{"name": "EXTENSION_URL", "value": "https://b.example.com"}]
        running = revisions.read_services([service])
        assert upgrade.as_called(tmp_path, PLACE, running) == PLACE
        (tmp_path / "serving-host").write_text("a.example.com\nb.example.com\n")
        assert upgrade.as_called(tmp_path, PLACE, running).domain == "b.example.com"
        assert upgrade.as_called(tmp_path, PLACE, {}).domain == "a.example.com"

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


class TestRollout:
    @pytest.mark.parametrize(
        ("new", "old", "speaks"),
        [
            ({}, {"2xx": 90}, False),
            ({"2xx": 10}, {"2xx": 90}, False),
            ({"2xx": 9, "5xx": 1}, {"2xx": 90}, False),
            ({"2xx": 8, "5xx": 2}, {"2xx": 90}, True),
            ({"5xx": 2}, {}, True),
            # What Klaviyo does to one, it does to the other.
            ({"2xx": 8, "5xx": 2}, {"2xx": 80, "5xx": 20}, False),
            ({"2xx": 5, "5xx": 5}, {"2xx": 80, "5xx": 20}, True),
            ({"2xx": 10_000, "5xx": 150}, {"2xx": 90_000}, False),
            # Refusing what the other accepts loses calls, too.
            ({"4xx": 12}, {"2xx": 100, "4xx": 4}, True),
            ({"2xx": 40, "4xx": 12}, {"2xx": 80, "4xx": 20}, False),
            ({"4xx": 9}, {"2xx": 100}, False),
        ],
    )
    def test_a_revision_is_judged_by_what_the_one_before_answers_meanwhile(
        self, new: dict[str, int], old: dict[str, int], speaks: bool
    ) -> None:
        assert bool(rollout.verdict(new, old)) == speaks

    def test_calls_are_counted_by_revision_and_class_over_all_points(self) -> None:
        def series(revision: str, kind: str, *counts: int) -> dict[str, Any]:
            return {
                "resource": {"labels": {"revision_name": revision}},
                "metric": {"labels": {"response_code_class": kind}},
                "points": [{"value": {"int64Value": str(count)}} for count in counts],
            }

        found = rollout.counted(
            [series("a-2", "2xx", 3, 4), series("a-2", "5xx", 1), series("a-1", "2xx", 9)]
        )
        assert found == {"a-2": {"2xx": 7, "5xx": 1}, "a-1": {"2xx": 9}}


def a_record(name: str, type: str, *data: str) -> dict[str, Any]:
    return {"name": name, "type": type, "rrdatas": list(data)}


class TestFront:
    ZONES = (
        {"name": "wide", "dnsName": "example.com."},
        {"name": "near", "dnsName": "shop.example.com.", "visibility": "public"},
        {"name": "hidden", "dnsName": "a.shop.example.com.", "visibility": "private"},
    )
    APEX = a_record("example.com.", "SOA", "x")

    @pytest.mark.parametrize(
        ("name", "zone"),
        [
            ("a.shop.example.com", "near"),
            ("shop.example.com", "near"),
            ("b.example.com", "wide"),
            ("bexample.com", ""),
            ("myshop.example.com", "wide"),
            ("example.org", ""),
        ],
    )
    def test_a_name_is_held_by_the_nearest_public_zone(self, name: str, zone: str) -> None:
        assert front.zone_of(name, self.ZONES) == zone

    @pytest.mark.parametrize(
        ("present", "action"),
        [
            ([], "make"),
            ([a_record("k.example.com.", "TXT", "theirs")], "make"),
            ([a_record("k.example.com.", "A", "203.0.113.7")], "there"),
            ([a_record("k.example.com.", "A", "198.51.100.1")], "theirs"),
            ([a_record("k.example.com.", "A", "203.0.113.7", "198.51.100.1")], "theirs"),
            (
                [a_record("k.example.com.", "A", "203.0.113.7"), a_record("k.example.com.", "AAAA", "::1")],
                "theirs",
            ),
            ([a_record("k.example.com.", "AAAA", "2001:db8::1")], "theirs"),
            ([a_record("k.example.com.", "CNAME", "other.example.org.")], "theirs"),
            ([{"name": "k.example.com.", "type": "A", "routingPolicy": {"geo": {}}}], "theirs"),
            ([a_record("k.example.com.", "NS", "ns.example.org.")], "theirs"),
            ([a_record("example.com.", "NS", "ns.google.")], "make"),
        ],
    )
    def test_a_record_is_made_only_where_nobody_else_has_one(self, present: list[Any], action: str) -> None:
        found = front.record("k.example.com", "A", "203.0.113.7", "wide", [self.APEX, *present])
        assert found.action == action
        assert front.record("k.example.com", "A", "203.0.113.7", "", present).action == "nowhere"

    def test_only_a_record_of_a_domain_of_ours_goes_with_the_address_and_another_that_leads_here_is_told(
        self,
    ) -> None:
        present = [
            a_record("k.example.com.", "A", "203.0.113.7"),
            a_record("by-hand.example.com.", "A", "203.0.113.7"),
            a_record("both.example.com.", "A", "203.0.113.7", "198.51.100.1"),
            a_record("elsewhere.example.com.", "CNAME", "1.authorize.certificatemanager.goog."),
            a_record("_acme-challenge.k.example.com.", "CNAME", "1.authorize.certificatemanager.goog."),
            a_record("_acme-challenge.other.example.com.", "CNAME", "2.authorize.certificatemanager.goog."),
        ]
        proofs = {"_acme-challenge.k.example.com.": "1.authorize.certificatemanager.goog."}
        found = front.pointing_here("203.0.113.7", proofs, "wide", present)
        assert [(row.name, row.action) for row in found] == [
            ("k.example.com.", "there"),
            ("by-hand.example.com.", "theirs"),
            ("_acme-challenge.k.example.com.", "there"),
        ]
        assert not list(front.pointing_here("", {"": ""}, "wide", [a_record("x.", "A", "")]))

    @pytest.mark.parametrize(
        ("expires", "state"),
        [("", "FAILED"), ("2027-01-01T00:00:00Z", "UNRENEWED"), ("2026-01-01T00:00:00Z", "FAILED")],
    )
    def test_a_certificate_that_failed_is_another_thing_while_it_still_serves(
        self, expires: str, state: str
    ) -> None:
        row = {"name": "x/extension-1", "managed": {"state": "FAILED"}, "expireTime": expires}
        lists: dict[str, list[Any]] = {"dnsAuthorizations": [], "certificates": [row], "certificateMaps": []}
        none: dict[str, list[Any]] = {"addresses": [], "sslCertificates": [], "targetHttpsProxies": []}
        found = front.described(none, lists, [], datetime(2026, 11, 30, tzinfo=UTC))
        assert found.certificates == {"extension-1": state}

    def test_what_is_served_is_in_the_map_and_before_there_was_one_on_the_proxy(self) -> None:
        served = front.Front(
            maps_attached=True, entries={"extension-1": "a.example.com", "extension-2": "b.example.com"}
        )
        assert served.old_hosts("b.example.com") == ["a.example.com"]
        prepared = {"extension-1": "b.example.com"}
        classic = front.Front(attached=("c",), classic={"c": ("ACTIVE", "a.example.com")}, entries=prepared)
        assert classic.old_hosts("b.example.com") == ["a.example.com"]
        assert classic.has_begun("b.example.com")


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

    def test_a_queue_of_somebody_else_is_not_ours_to_remove(self) -> None:
        ours = self.listed("acme-klaviyo-inbound", Direction.INBOUND)
        theirs = self.listed("parcels-inbound", Direction.INBOUND)
        theirs["retryConfig"]["maxAttempts"] = 5
        assert list(queues.own([ours, theirs, {"name": "x/smoke"}])) == ["acme-klaviyo-inbound"]

    def test_one_that_differs_is_set_and_what_is_no_tenants_is_not(self) -> None:
        stale = self.listed("acme-klaviyo-outbound", Direction.OUTBOUND)
        stale["retryConfig"]["maxAttempts"] = 5
        other = {"name": "projects/p/locations/l/queues/smoke", "retryConfig": {"maxAttempts": 1}}
        assert list(queues.differing([stale, other])) == [
            ["acme-klaviyo-outbound", "500", "100", "unlimited", "1s", "600s", "10"]
        ]


def test_every_schedule_divides_an_hour_or_a_day() -> None:
    for schedule in load_schedules().values():
        assert 60 % schedule.every == 0 or (schedule.every % 60 == 0 and 1440 % schedule.every == 0)
        assert plan._cron(schedule.every, 0)


def test_no_two_schedules_start_in_the_same_minute_of_an_hour() -> None:
    crons = [plan._cron(row.every, n) for n, row in enumerate(load_schedules().values())]
    minutes = [
        {int(cron.split("-")[0]) % 5} if "/5 " in cron else {int(cron.split()[0]) % 5} for cron in crons
    ]
    assert len({min(found) for found in minutes}) == len(crons)


class TestRole:
    ROLE = yaml.safe_load((REPOSITORY / "deploy/gcp/deployer.yaml").read_text(encoding="utf-8"))

    def test_every_service_that_is_switched_on_has_its_permissions_and_no_other_has_any(self) -> None:
        granted = {permission.partition(".")[0] for permission in self.ROLE["includedPermissions"]}
        called = {"firestore": "datastore", "cloudresourcemanager": "resourcemanager"}
        wanted = {called.get(api, api) for api in plan.APIS} | {"serviceusage", "dns"}
        assert granted == wanted

    def test_permissions_are_named_once_and_in_order(self) -> None:
        listed = self.ROLE["includedPermissions"]
        assert listed == sorted(set(listed))
        assert all(re.fullmatch(r"[a-z]+(\.[a-zA-Z]+){2}", permission) for permission in listed)


class TestResources:
    def test_the_plan_as_data_holds_every_function_and_no_secret(self, tmp_path: Path) -> None:
        listed = planned(tmp_path)
        services = {r["name"]: r["settings"] for r in listed if r["type"] == "google_cloud_run_v2_service"}
        assert services.keys() == {name.replace("_", "-") for name in load_functions()}
        assert services["install"]["variables"]["KLAVIYO_CLIENT_ID"] == "the-app"
        assert services["install"]["secrets"]["KLAVIYO_CLIENT_SECRET"] == "klaviyo-client-secret:1"
        assert "canary" not in json.dumps(listed)
        backends = {r["name"]: r["settings"] for r in listed if r["type"] == "google_compute_backend_service"}
        assert backends["admin"]["securityPolicy"] == "per-address-1200"
        names = {(r["type"], r["name"]) for r in listed}
        assert ("google_monitoring_uptime_check_config", PLACE.domain) in names
        assert ("google_dns_record_set", f"{PLACE.domain}.") in names
        (entry,) = [r for r in listed if r["type"] == "google_certificate_manager_certificate_map_entry"]
        assert entry["settings"]["hostname"] == PLACE.domain
        assert listed[-1]["settings"]["month_at_most"] <= listed[-1]["settings"]["ceiling"]


# What stands in the picture for each of Terraform's types.
PICTURED = {
    "google_artifact_registry_repository": "Artifact Registry repository",
    "google_certificate_manager_certificate": "certificate map: entry, certificate",
    "google_certificate_manager_certificate_map": "certificate map",
    "google_certificate_manager_certificate_map_entry": "certificate map: entry",
    "google_certificate_manager_dns_authorization": "DNS authorization of each name",
    "google_cloud_run_v2_service": "Cloud Run: public functions",
    "google_cloud_run_v2_service_iam_member": "let in by IAM alone",
    "google_cloud_scheduler_job": "Cloud Scheduler jobs",
    "google_cloud_tasks_queue": "Cloud Tasks queues",
    "google_compute_backend_service": "a backend service",
    "google_compute_global_address": "global address",
    "google_compute_global_forwarding_rule": "forwarding rules",
    "google_compute_region_network_endpoint_group": "an endpoint group",
    "google_compute_security_policy": "security policies",
    "google_compute_ssl_policy": "SSL policy",
    "google_compute_target_http_proxy": "http proxy",
    "google_compute_target_https_proxy": "https proxy",
    "google_compute_url_map": "URL map",
    "google_dns_record_set": "A record, CNAME _acme-challenge",
    "google_firestore_backup_schedule": "backup schedule",
    "google_firestore_database": "Firestore database (default)",
    "google_firestore_field": "fields that expire, fields without an index",
    "google_logging_metric": "log-based metrics",
    "google_monitoring_alert_policy": "alert policies",
    "google_monitoring_dashboard": "dashboard",
    "google_monitoring_uptime_check_config": "uptime check in Cloud Monitoring",
    "google_project_iam_member": "IAM members",
    "google_project_service": "APIs (services) of the project",
    "google_secret_manager_secret": "Secret Manager secrets",
    "google_secret_manager_secret_iam_member": "read by the functions that are given it",
    "google_service_account": "service accounts",
    "google_service_account_iam_member": "IAM members",
}
NAMED = {
    "google_cloud_run_v2_service",
    "google_cloud_scheduler_job",
    "google_secret_manager_secret",
    "google_service_account",
}


class TestPicture:
    def picture(self) -> str:
        text = (REPOSITORY / "deploy/README.md").read_text(encoding="utf-8")
        return text.partition("## What stands where")[2].partition("```text")[2].partition("```")[0]

    def test_every_name_and_kind_of_the_plan_is_in_the_picture(self, tmp_path: Path) -> None:
        listed = planned(tmp_path)
        assert listed.pop()["type"] == "costs"  # no resource
        assert {resource["type"] for resource in listed} == PICTURED.keys()
        shown = self.picture()
        for resource in listed:
            assert PICTURED[resource["type"]] in shown
            assert resource["type"] not in NAMED or resource["name"] in shown


def test_the_doctor_is_told_as_long_as_there_can_be_no_limits(tmp_path: Path) -> None:
    def told() -> object:
        planned(tmp_path)
        return yaml.safe_load((tmp_path / "variables-admin.yaml").read_text()).get("ADDRESS_LIMITS")

    assert told() is None
    (tmp_path / "limits-left-out").touch()
    assert told() == "none"
    (tmp_path / "limits-left-out").unlink()
    assert told() is None


def planned(work: Path) -> list[dict[str, Any]]:
    """Return the plan as data."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KLAVIYO_CLIENT_SECRET", "canary-secret")
        patched.setenv("KLAVIYO_CLIENT_ID", "the-app")
        plan.write_plan(work, PLACE)
        for name in ("version-encryption-keys", "version-klaviyo-client-secret", "services.json"):
            (work / name).write_text("")
        upgrade.write_revisions(work, PLACE)
    return resources.listed(work, PLACE)


class TestOverview:
    def test_of_what_is_not_there_nothing_is_said_to_be_wrong_or_to_cost(self) -> None:
        functions = load_functions()
        assert list(overview.of_front([], [], functions)) == []
        assert next(iter(overview.of_costs([], functions, [], []))) == "warm instances: none"

    def test_what_is_not_as_it_should_be_is_said(self) -> None:
        functions = load_functions()
        waiting = a_service(traffic=[{"revisionName": "targets-1", "percent": 100}])
        said = list(overview.of_functions([waiting], functions))
        assert "targets            calls go to targets-1; targets-2 waits" in said
        assert "admin              not there" in said
        paused = {"name": "x/acme-klaviyo-outbound", "state": "PAUSED"}
        assert list(overview.of_queues([paused]))[1] == "acme-klaviyo-outbound is PAUSED"
        backends = [{"name": "admin", "securityPolicy": "x"}, {"name": "install"}]
        front = list(overview.of_front([], backends, functions))
        assert front == ["warning: install has no limit by address attached"]
        failed = {"domain": "e.example.com", "state": "FAILED", "failureReason": "CAA"}
        managed = {
            "domains": ["e.example.com"],
            "state": "PROVISIONING",
            "authorizationAttemptInfo": [failed],
        }
        assert list(overview.of_front([{"managed": managed}], [], {})) == [
            "certificate of e.example.com: PROVISIONING",
            "warning: e.example.com is not authorized: CAA",
        ]
        shared = [{"revisionName": "targets-1", "percent": 90}, {"revisionName": "targets-2", "percent": 10}]
        first = next(iter(overview.of_functions([a_service(traffic=shared)], functions)))
        assert "calls are shared by targets-1 and another" in first
        alert = {"displayName": "Jobs have died", "userLabels": {"fingerprint": "x"}, "enabled": False}
        assert list(overview.of_alerts([alert])) == [
            "1 alerts, 0 of them are sent to somebody",
            "Jobs have died is switched off",
        ]
        warm = {**waiting, "metadata": {"name": "rewards-webhook"}}
        off = list(overview.of_costs([waiting, warm], functions, [], [{"name": "x"}]))
        assert off[0] == "warm instances: rewards_webhook"
        assert off[2] == "point-in-time recovery: off"


TWO_FUNCTIONS = {
    "small": a_function("install").model_copy(update={"name": "small", "max_instances": 2}),
    "large": a_function("targets").model_copy(update={"name": "large", "max_instances": 10, "cpu": 2.0}),
}


class TestCosts:
    def test_the_instances_of_a_month_are_counted_as_if_each_were_busy_all_the_time(self) -> None:
        known = costs.load()
        hours = 730 * 3600
        small = 2 * (0.000024 + 0.5 * 0.0000025) * hours
        large = 10 * (2 * 0.000024 + 0.0000025) * hours
        assert known.months(TWO_FUNCTIONS.values()) == round(small + large + 65)
        told = costs.told(known, TWO_FUNCTIONS, 5000)
        assert told[0].startswith(f"at most {round(small + large + 65):,} dollars a month")
        assert "the ceiling is 5,000" in told[0]

    def test_more_than_the_ceiling_ends_the_run_and_names_what_costs_most(self) -> None:
        known = costs.load()
        needed = known.months(TWO_FUNCTIONS.values())
        assert costs.findings(known, TWO_FUNCTIONS, needed) == []
        (found,) = costs.findings(known, TWO_FUNCTIONS, needed - 1)
        assert found.kind == "problem"
        assert "large may cost" in found.words
        assert "COST_CEILING" in found.words

    def test_the_ceiling_that_is_given_comes_before_that_of_the_file(self) -> None:
        known = costs.load()
        assert costs.ceiling(known, {}) == known.ceiling
        assert costs.ceiling(known, {"COST_CEILING": ""}) == known.ceiling
        assert costs.ceiling(known, {"COST_CEILING": "5000"}) == 5000

    def test_what_is_shipped_is_below_the_ceiling_that_is_shipped(self) -> None:
        known = costs.load()
        assert costs.findings(known, load_functions(), known.ceiling) == []

    def test_prices_are_those_of_the_readme(self) -> None:
        known = costs.load()
        page = Page.read(REPOSITORY / "deploy/README.md")
        prices = {row[0].strip(): row[1].strip() for row in page.table("Unit")}
        assert f"{known.vcpu_second:f}" == prices["Cloud Run, one vCPU second, billed by request"]
        assert f"{known.gib_second:.7f}" == prices["Cloud Run, one GiB second"]
        events = {
            row[0].strip(" *"): float(row[2].strip(" *")) for row in page.table("One million metric events")
        }
        assert known.million_calls.public + known.million_calls.worker == pytest.approx(
            events["Sum"] - events["Cloud Run time"]
        )


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
    def test_components_older_than_the_least_gcloud_are_named(self) -> None:
        (said,) = preflight.of_gcloud(
            {"Google Cloud SDK": "528.0.0", "alpha": "2023.01.06", "beta": "2025.06.27"}
        )
        assert said.startswith("gcloud's alpha is older")

    def test_what_the_project_lacks_is_named_with_what_helps(self) -> None:
        (billing,) = preflight.of_billing({"billingEnabled": False}, "p")
        assert billing.kind == "problem"
        assert "gcloud billing projects link p" in billing.words
        assert list(preflight.of_billing({"billingEnabled": True}, "p")) == []
        lacking = list(preflight.of_permissions(["run.services.create", "dns.changes.create"], []))
        assert [finding.kind for finding in lacking] == ["problem", "warning"]
        assert "run.services.create" in lacking[0].words
        assert list(preflight.of_permissions(["a.b.c"], ["a.b.c", "d.e.f"])) == []
        (region,) = preflight.of_region(
            "europe-west9", {"run": ["europe-west9"], "cloudtasks": ["europe-west1"]}
        )
        assert region.words.startswith("europe-west9 has no cloudtasks")

    def test_an_old_gcloud_without_components_is_told_of_both(self) -> None:
        said = list(preflight.of_gcloud({"Google Cloud SDK": "470.0.0", "beta": "2025.01.03"}))
        assert len(said) == 2
        assert "components install alpha" in said[1]
        assert (
            list(
                preflight.of_gcloud(
                    {"Google Cloud SDK": "528.0.0", "alpha": "2025.06.27", "beta": "2025.06.27"}
                )
            )
            == []
        )

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
            ("WATCH_MINUTES", "ten"),
            ("COST_CEILING", "0"),
            ("COST_CEILING", "5,000"),
            ("ALERT_EMAIL", "canary-somebody"),
            ("ALERT_EMAIL", 'canary"or@example.com'),
            ("ALERT_EMAIL", "canary,two@example.com"),
            ("REGION", "europe-west\u0661"),
            ("ONLY", "functions"),
            ("ONLY", "bundle,database"),
            ("FORMAT", "yaml"),
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
            "WATCH_MINUTES": "0",
            "COST_CEILING": "5000",
            "ALERT_EMAIL": "canary@example.com",
            "ONLY": "bundle watching",
            "FORMAT": "json",
        }
        assert list(preflight.of_variables(right, right)) == []
