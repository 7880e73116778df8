"""What a person can do about a 403, as far as the service says what is missing."""

import pytest

from shared.errors import RefusedError
from shared.http.forbidden import lacks_a_scope, what_mends


@pytest.mark.parametrize(
    ("service", "detail", "is_scope", "told"),
    [
        ("Klaviyo", "Missing scopes: lists:write", True, "install again and grant every scope"),
        ("Klaviyo", "The SCOPE is missing.", True, "install again and grant every scope"),
        ("Klaviyo", "", True, "install again and grant every scope"),
        ("Klaviyo", "You must have Advanced KDP enabled to access this endpoint.", False, "change its plan"),
        ("Klaviyo", "Entitlement to create object type not found.", False, "change its plan"),
        ("Klaviyo", "Your PLAN has no custom objects.", False, "change its plan"),
        ("Klaviyo", "The scope of your plan does not include custom objects.", False, "change its plan"),
        ("Klaviyo", "Your package has no scope for SMS; upgrade it.", False, "change its plan"),
        ("Klaviyo", "lists:write is not enabled for this app.", True, "install again and grant every scope"),
        ("Klaviyo", "See the microscope of explanations.", False, "If a scope is missing, install again"),
        ("Klaviyo", "You may not do this.", False, "If a scope is missing, install again"),
        ("Omneo", "This action is unauthorized.", False, "in CX Manager"),
        ("Omneo", "Invalid scope(s) provided.", False, "in CX Manager"),
    ],
)
def test_what_is_missing_decides_what_mends_it(service: str, detail: str, is_scope: bool, told: str) -> None:
    error = RefusedError("refused", service=service, status=403, detail=detail)
    assert lacks_a_scope(error) is is_scope
    assert told in what_mends(error)
