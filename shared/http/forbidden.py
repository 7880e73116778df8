"""How to mend a 403. Only the service's own words say which permission or which part of a plan is missing. Pure."""

import re

from shared.errors import ServiceError

_SCOPE = re.compile(r"\bscopes?\b|\b[a-z]+(?:-[a-z]+)*:(?:read|write|full)\b", re.IGNORECASE)
# Words about an account, which count more than the word "scope": "the scope of your plan".
_ACCOUNT = re.compile(r"\b(?:plans?|pricing|billing|tiers?|upgrad\w*|packages?|entitle\w*)\b", re.IGNORECASE)
_SETTING = re.compile(r"\b(?:enabled?|advanced)\b", re.IGNORECASE)


def lacks_a_scope(error: ServiceError) -> bool:
    """Return whether Klaviyo says that a scope is missing, or says nothing: a scope is the likeliest cause then."""
    if error.service != "Klaviyo":
        return False
    return not error.detail or bool(_SCOPE.search(error.detail) and not _ACCOUNT.search(error.detail))


def what_mends(error: ServiceError) -> str:
    """Return what a person can do about a 403 of this service, in a sentence."""
    if error.service != "Klaviyo":
        return f"Give our {error.service} token the permission that is missing, in CX Manager."
    if lacks_a_scope(error):
        return "A scope is missing: install again and grant every scope."
    if _ACCOUNT.search(error.detail) or _SETTING.search(error.detail):
        return "Klaviyo's words name what the account lacks: change its plan or its settings in Klaviyo."
    return "If a scope is missing, install again and grant every scope; else change the account's plan in Klaviyo."
