"""Each check, against a sandbox that behaves as assumed, and one that behaves the other way."""

import pytest
import requests

from deploy.rehearsal.assumption import Trial, Verdict
from deploy.rehearsal.assumptions.table import ASSUMPTIONS
from tests.deploy.rehearsal.stages import Twin, record_what_people_did

CONTROL = "_sandbox/switches"
TRIED = [row.name for row in ASSUMPTIONS if isinstance(row.tried, Trial)]


def test_every_assumption_that_is_tried_holds_of_the_sandbox(twin: Twin) -> None:
    record_what_people_did(twin)
    results = twin.rehearse(TRIED).results
    assert [(one.name, one.because) for one in results if one.verdict is not Verdict.HOLDS] == []
    assert twin.leftovers() == []


@pytest.mark.parametrize("name", TRIED)
def test_a_sandbox_that_behaves_the_other_way_is_found_out(twin: Twin, name: str) -> None:
    twin.otherwise(name)
    record_what_people_did(twin)
    assert twin.verdicts([name]) == {name: Verdict.FAILS}


def test_another_process_tells_the_sandbox_to_behave_the_other_way(twin: Twin) -> None:
    sandbox = twin.world.sandbox
    for url, name in ((sandbox.klaviyo.url, "null-clears"), (sandbox.omneo.url, "empty-list-is-200")):
        requests.post(f"{url}/{CONTROL}", json={"otherwise": [name]}, timeout=5).raise_for_status()
    verdicts = twin.verdicts(["null-clears", "empty-list-is-200", "taken-title-is-refused"])
    assert [name for name, verdict in verdicts.items() if verdict is Verdict.FAILS] == [
        "null-clears",
        "empty-list-is-200",
    ]
    for url in (sandbox.klaviyo.url, sandbox.omneo.url):
        requests.post(f"{url}/{CONTROL}", json={"otherwise": []}, timeout=5).raise_for_status()
    assert set(twin.verdicts(verdicts).values()) == {Verdict.HOLDS}
