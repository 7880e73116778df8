"""What mends a 403: which permission or which part of a plan is missing stands in the service's own words alone. Pure."""

from shared.errors import ServiceError

_PLAN = ("plan", "entitle", "enabled", "upgrade", "advanced", "package")


def lacks_a_scope(error: ServiceError) -> bool:
    """Return whether Klaviyo says that a scope is missing, or says nothing: a scope is the likeliest cause then."""
    return error.service == "Klaviyo" and ("scope" in error.detail.casefold() or not error.detail)


def what_mends(error: ServiceError) -> str:
    """Return what a person can do about a 403 of this service, in a sentence."""
    if error.service != "Klaviyo":
        return f"Give our {error.service} token the permission that is missing, in CX Manager."
    if lacks_a_scope(error):
        return "A scope is missing: install again and grant every scope."
    if any(word in error.detail.casefold() for word in _PLAN):
        return "Klaviyo's words name what the account lacks: change its plan or its settings in Klaviyo."
    return "If a scope is missing, install again and grant every scope; else change the account's plan in Klaviyo."
