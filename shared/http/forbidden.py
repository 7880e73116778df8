"""What mends a 403: which permission or which part of a plan is missing stands in the service's own words alone. Pure."""

from shared.errors import ServiceError


def what_mends(error: ServiceError) -> str:
    """Return what a person can do about a 403 of this service, in a sentence."""
    if error.service != "Klaviyo":
        return f"Give our {error.service} token the permission that is missing, in CX Manager."
    if "scope" in error.detail.casefold() or not error.detail:
        return "Install the app again from Klaviyo's marketplace, and grant every scope."
    return "Klaviyo's words name what the account lacks: change its plan or its settings in Klaviyo."
