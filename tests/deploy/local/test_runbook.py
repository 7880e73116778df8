"""The runbook's symptoms lead somewhere. That each of their commands works is tried in test_run_and_serve.py, where a bundle runs."""

from tests.deploy.local.runbook import RUNBOOK, symptoms


def test_the_runbook_begins_with_symptoms_and_each_has_commands() -> None:
    assert RUNBOOK.index("## Symptoms") < RUNBOOK.index("## calls-failing")
    assert list(symptoms()) == [
        "No emails",
        "The wrong person got it",
        "Consent differs",
        "A reward twice",
        "The install fails",
    ]
    assert all(symptoms().values())


def test_missing_emails_lead_to_the_calls_that_were_refused_and_the_jobs_that_died() -> None:
    for command in ("traffic TENANT --since 7d", "dead list TENANT"):
        assert f"deploy.tenants {command}" in symptoms()["No emails"]
