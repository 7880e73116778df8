"""The order of a rehearsal: what is removed and when, what goes on after an interruption, and what the report may hold."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.rehearsal import made, report
from deploy.rehearsal.assumption import Trial, Verdict
from deploy.rehearsal.assumptions.table import ASSUMPTIONS, BY_NAME
from deploy.rehearsal.exchanges import shape
from deploy.rehearsal.journal import COLLECTION, Journal, Made, forget
from deploy.rehearsal.rehearsal import Order, Result, rehearse
from shared.errors import BusyError, DocumentMissingError
from shared.services import Services
from shared.storage.documents import Documents
from tests.deploy.rehearsal.stages import CUSTOMER, TWIN, Twin, record_what_people_did
from tests.support.mortal import Fate, KilledError, WatchedDocuments, watched_everywhere
from tests.support.world import World

WRITES = [row.name for row in ASSUMPTIONS if isinstance(row.tried, Trial) and row.tried.writes]
CHEAP = "empty-list-is-200"
SOME = ("unknown-id-is-404", "taken-title-is-refused", "taken-identity-is-422")


def watched(twin: Twin, fate: Fate, *, store: bool = False) -> Services:
    """Return services over which the fate may strike: around each call, and around each write if the `store` is watched."""
    services = replace(twin.world.services)
    vars(services)["_connections"] = watched_everywhere(fate)
    documents = twin.world.services.documents
    vars(services)["documents"] = WatchedDocuments(documents, fate) if store else documents
    return services


def lived_through(twin: Twin, name: str, *, kills: bool, store: bool = False) -> int:
    """Rehearse one assumption, struck at each moment in turn; what is left after the next run fails. Return how many moments there were."""
    moment = 0
    while True:
        fate = Fate(moment, kills=kills)
        try:
            twin.rehearse([name], services=watched(twin, fate, store=store))
        except KilledError:
            twin.world.clock.advance(301)  # until its turn has ended
        if not fate.struck:
            return moment
        twin.rehearse([CHEAP])
        assert twin.leftovers() == [], f"{name}, moment {moment}"
        assert twin.world.services.documents.get(COLLECTION, TWIN) is None
        twin.world.clock.advance(60)  # webhooks are limited to 15 calls a minute
        moment += 1


@pytest.mark.parametrize("name", WRITES)
def test_killed_at_any_call_it_leaves_nothing_behind_after_the_next_run(twin: Twin, name: str) -> None:
    assert lived_through(twin, name, kills=True) >= 4


def test_killed_at_any_write_of_its_journal_it_leaves_nothing_behind(twin: Twin) -> None:
    assert lived_through(twin, "taken-identity-is-422", kills=True, store=True) > 20


def test_an_answer_that_is_lost_leaves_nothing_behind(twin: Twin) -> None:
    assert lived_through(twin, "create-refuses-known-identifiers", kills=False) > 10


def test_interrupted_it_removes_what_it_made_and_can_be_resumed(twin: Twin) -> None:
    def interrupt(_result: Result) -> None:
        raise KeyboardInterrupt

    order = Order([BY_NAME[name] for name in SOME], CUSTOMER)
    with pytest.raises(KeyboardInterrupt):
        rehearse(twin.world.read(TWIN), order, twin.world.services, tell=interrupt)
    assert twin.leftovers() == []
    twin.heard.clear()
    resumed = twin.rehearse(SOME, resume=True)
    assert [one.verdict for one in resumed.results] == [Verdict.HOLDS] * 3
    assert all(call.template != "/api/profile-import" for call in twin.heard), "the first is not tried again"
    twin.heard.clear()
    twin.rehearse(SOME, resume=True)
    assert any(call.template == "/api/profile-import" for call in twin.heard), "nothing is left to resume"


def test_what_a_call_that_was_cut_off_made_and_no_search_finds_yet_is_removed_by_the_next_run(
    twin: Twin,
) -> None:
    """Klaviyo finds a new profile by its email some seconds later."""

    klaviyo = twin.world.sandbox.klaviyo
    nobody = {"data": [], "links": {"self": "", "next": None}}
    klaviyo.fail(1, match="POST /api/profiles", kind="reset", takes_effect=True)
    klaviyo.fail(1, match="GET /api/profiles", status=200, body=nobody)
    left = twin.rehearse(["null-clears"]).left
    assert [row.kind for row in left] == [made.PERSON]
    assert len(twin.leftovers()) == 1
    twin.rehearse([CHEAP])
    assert twin.leftovers() == []
    assert twin.world.services.documents.get(COLLECTION, TWIN) is None


def test_what_was_found_under_another_revision_is_not_resumed(twin: Twin) -> None:
    journal = Journal.open(twin.world.services, TWIN)
    journal.begin(resume=False, of="2025-10-15 AcmeAc x example.com")
    journal.keep(CHEAP, Result(CHEAP, Verdict.FAILS, "as it was then").to_json())
    assert twin.rehearse([CHEAP], resume=True).all_hold


def test_the_shape_that_a_report_shows_has_no_name_that_people_gave() -> None:
    for name in ("custom_attributes", "custom_fields", "customer_properties", "record", "meta"):
        assert shape({name: {"canary": 1}, "id": "canary"}) == {name: "object", "id": "string"}


def test_the_shape_that_a_report_shows_is_of_every_row_of_a_list() -> None:
    assert shape([{"id": "canary"}, {"id": 1, "type": None}]) == [{"id": "number or string", "type": "null"}]


def test_a_list_nested_without_end_has_a_shape() -> None:
    assert str(shape(json.loads("[" * 400 + "]" * 400))).count("[") == 21


def test_a_tenant_that_is_deleted_meanwhile_has_its_objects_removed_all_the_same(twin: Twin) -> None:
    def delete(_result: Result) -> None:
        forget(twin.world.services, TWIN)

    order = Order([BY_NAME[name] for name in ("taken-identity-is-422", "null-clears")], CUSTOMER)
    with pytest.raises(DocumentMissingError):
        rehearse(twin.world.read(TWIN), order, twin.world.services, tell=delete)
    assert twin.leftovers() == []


def test_without_resume_everything_is_tried_again(twin: Twin) -> None:
    journal = Journal.open(twin.world.services, TWIN)
    journal.keep(CHEAP, Result(CHEAP, Verdict.FAILS, "the last run said so").to_json())
    assert twin.verdicts([CHEAP]) == {CHEAP: Verdict.HOLDS}


def test_two_at_once_are_one_too_many(twin: Twin) -> None:
    seen = []

    def begin_another(_result: Result) -> None:
        with pytest.raises(BusyError, match="under way"):
            twin.rehearse([CHEAP])
        seen.append(True)

    order = Order([BY_NAME[CHEAP]], CUSTOMER)
    rehearse(twin.world.read(TWIN), order, twin.world.services, tell=begin_another)
    assert seen


def test_what_cannot_be_removed_is_told_and_removed_by_the_next_run(twin: Twin) -> None:
    twin.world.sandbox.klaviyo.fail(100, match="DELETE /api/data-sources/*", status=503)
    left = twin.rehearse(["taken-title-is-refused"]).left
    assert [row.kind for row in left] == [made.DATA_SOURCE]
    twin.world.sandbox.klaviyo.fail(0)
    assert twin.rehearse([CHEAP]).left == ()
    assert twin.leftovers() == []


def test_what_others_have_made_is_left_alone(twin: Twin) -> None:
    klaviyo, omneo = twin.world.sandbox.klaviyo, twin.world.sandbox.omneo
    before = (omneo.webhooks(TWIN), [profile["id"] for profile in omneo.profiles(TWIN)])
    klaviyo.profile("AcmeAc", email="canary-other@example.org")
    twin.rehearse(WRITES)
    assert (omneo.webhooks(TWIN), [profile["id"] for profile in omneo.profiles(TWIN)]) == before
    assert [one.attributes["email"] for one in klaviyo.profiles("AcmeAc")] == ["canary-other@example.org"]


def test_a_service_that_is_down_makes_no_verdict(twin: Twin) -> None:
    twin.world.sandbox.omneo.fail(1000, status=503)
    result = twin.rehearse([CHEAP, "token-by-identity"]).results[1]
    assert (result.verdict, result.because) == (
        Verdict.UNTRIED,
        "Omneo answered 503 to a call that the check needs",
    )


def test_the_report_shows_names_and_numbers_and_nobodys_values(twin: Twin, tmp_path: Path) -> None:
    record_what_people_did(twin)
    problem = {"code": "canary code", "title": "t", "detail": "canary", "source": {"pointer": "/data/canary"}}
    twin.world.sandbox.klaviyo.fail(
        1, match="POST /api/data-sources", status=400, body={"errors": [problem], "canary key": 1}
    )
    rehearsed = twin.rehearse()
    report.write(tmp_path, rehearsed, about={"tenant": TWIN})
    page, data = (tmp_path / report.PAGE).read_text(), (tmp_path / report.DATA).read_text()
    assert "canary" not in (page + data).casefold()
    results = {row["name"]: row for row in json.loads(data)["results"]}
    assert list(results) == [row.name for row in ASSUMPTIONS]
    refused = results["identifier-of-another-is-409"]
    assert refused["evidence"] == {
        "status": 409,
        "the refusal names the other profile": True,
        "the refusal names the profile itself": False,
        "status without an id": 409,
    }
    call = next(row for row in refused["calls"] if row["status"] == 409)
    assert (call["call"], call["code"], call["at"]) == (
        "POST /api/profile-import",
        "duplicate_profile",
        "/data/attributes",
    )
    assert call["sent"] == {
        "data": {"type": "string", "id": "string", "attributes": {"external_id": "string"}}
    }
    assert "X-Klaviyo-Req-Id" in call["headers"]
    assert "Klaviyo POST /api/profile-import: 409 duplicate_profile at /data/attributes" in page


def test_the_report_shows_what_does_not_hold_first(twin: Twin) -> None:
    twin.otherwise("taken-title-is-refused")
    page = report.as_page(twin.rehearse([CHEAP, "taken-title-is-refused"]), about={"tenant": TWIN})
    assert page.index("[taken-title-is-refused]") < page.index(f"[{CHEAP}]")
    assert "**does not hold**: a second data source with the title is made." in page
    assert "It matters: an install makes a data source twice. See `shared/klaviyo/data_sources.py`." in page


def test_evidence_that_could_be_somebodys_value_is_refused(twin: Twin) -> None:
    from deploy.rehearsal.stage import Stage

    stage = Stage.__new__(Stage)
    stage.evidence = {}
    with pytest.raises(ValueError, match="somebody's value"):
        stage.saw("status", "jane@example.org")
    stage.saw_names("properties", ["Bounce Type", "jane@example.org"])
    assert stage.evidence == {"properties": ["Bounce Type", "..."]}


def test_a_deleted_tenant_leaves_no_journal(world: World) -> None:
    journal = Journal.open(world.services, TWIN)
    journal.note(Made(made.LIST, "omneo-rehearsal-x"))
    forget(world.services, TWIN)
    assert Journal.open(world.services, TWIN).made == []


def test_a_call_that_is_made_again_and_again_is_shown_once(twin: Twin) -> None:
    twin.world.sandbox.klaviyo.consent.job_seconds = 100
    (result,) = twin.rehearse(["consent-lands-within-three-minutes"]).results
    looks = [call for call in result.calls if call["call"] == "GET /api/profiles/{id}"]
    assert len(looks) < 4
    assert sum(call["times"] for call in looks) > 10
    assert result.evidence["seconds until the profile was subscribed"] == pytest.approx(105, abs=10)


class TestJournal:
    """On each store."""

    def test_what_is_noted_and_kept_is_there_for_the_next_run(
        self, world: World, documents: Documents
    ) -> None:
        services = replace(world.services)
        vars(services)["documents"] = documents
        first, thing = Journal.open(services, TWIN), Made(made.REWARD, "omneo-rehearsal-x", CUSTOMER)
        first.begin(resume=False)
        first.note(thing)
        first.note(thing)
        kept = Result(CHEAP, Verdict.HOLDS, "", {"names": ["a"]}, ({"answered": [[["text"]]]},))
        first.keep(CHEAP, kept.to_json())
        second = Journal.open(services, TWIN)
        assert second.made == [thing]
        assert Result.from_json(second.result(CHEAP)) == kept
        assert second.result("another") is None
        second.finish()
        third = Journal.open(services, TWIN)
        assert (third.made, third.results) == ([thing], {}), "what could not be removed stays noted"
        third.forget(thing)
        third.finish()
        assert documents.get(COLLECTION, TWIN) is None
