"""A story is headed by what began it, in words."""

import pytest

from deploy.local.console.titles import about, of_job


@pytest.mark.parametrize(
    ("method", "path", "tenant", "kind", "title"),
    [
        ("POST", "/demo/api/v1/targets/klaviyo/metric", "demo", "event", "An event for Klaviyo"),
        ("POST", "/demo/api/v1/resync", "demo", "admin", "A resync is asked for"),
        ("POST", "/demo/api/v1/dead-jobs/j-1/replay", "demo", "admin", "Dead jobs are replayed"),
        ("GET", "/demo/api/v1/resync", "demo", "admin", "GET resync"),
        ("POST", "/klaviyo/confirm", "", "install", "An install is confirmed"),
        ("GET", "/klaviyo/progress", "", "install", "GET /klaviyo/progress"),
    ],
)
def test_a_call_is_told_by_its_path(method: str, path: str, tenant: str, kind: str, title: str) -> None:
    assert about(method, path, b"") == (tenant, kind, title)


def test_a_job_whose_call_nobody_saw_has_words_too() -> None:
    assert of_job("provision") == "The set-up after an install"
    assert of_job("pack-syncs") == "The job pack-syncs"
