"""What a person is told to do about each cause is a sentence that can be followed, and true of records too."""

import pytest

from shared.jobs.rules.causes import HELD, MENDED_BY_INSTALL, RECORDS, Cause, advice, goes_on_by_itself

REPLAY = "python -m deploy.tenants dead replay acme"


@pytest.mark.parametrize("cause", Cause)
def test_a_cause_says_that_its_jobs_go_on_by_themselves_or_names_the_command(cause: Cause) -> None:
    told = advice(cause, tenant="acme", kind="send-metric", id="1f")
    if cause in HELD:
        assert "by themselves" in told
    else:
        assert told.endswith(f"Then: {REPLAY} 1f") or told.endswith(f": {REPLAY} 1f")
        assert "themselves" not in told
    assert goes_on_by_itself(cause, "send-metric") == (cause in HELD)


@pytest.mark.parametrize("cause", Cause)
def test_of_a_record_it_never_says_so_and_warns_of_newer_ones(cause: Cause) -> None:
    told = advice(cause, tenant="acme", kind=RECORDS, id="1f")
    assert "by themselves" not in told
    assert "newer record of the same object" in told
    assert told.endswith(f"Then: {REPLAY} 1f")
    assert told.count("Then:") == 1
    assert not goes_on_by_itself(cause, RECORDS)


@pytest.mark.parametrize("cause", sorted(HELD))
def test_without_a_job_it_is_about_all_that_the_cause_holds(cause: Cause) -> None:
    told = advice(cause, tenant="acme")
    assert "{" not in told
    assert REPLAY not in told or f"{REPLAY} --cause {cause}" in told


def test_what_an_install_mends_is_held() -> None:
    assert MENDED_BY_INSTALL <= HELD
