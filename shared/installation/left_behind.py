"""The lines of a tenant's `left_behind`: what stays in an account, and a person has to remove there."""

from shared.tenants.tenants import Tenant

ACCOUNT = "Klaviyo account "


def still_installed(account_id: str, error: Exception) -> str:
    """Return the line about a grant that could not be revoked."""
    return f"{ACCOUNT}{account_id} still shows the app as installed, because {error}. Remove the app there."


def with_left_behind(tenant: Tenant, *lines: str) -> Tenant:
    """Return the tenant with these lines in `left_behind`, each once."""
    return tenant.model_copy(update={"left_behind": tuple(dict.fromkeys((*tenant.left_behind, *lines)))})


def left_in_other_accounts(tenant: Tenant, account_id: str) -> tuple[str, ...]:
    """Return the lines of `left_behind` that stay true when this account is installed or left: those that name another account."""
    return tuple(
        line
        for line in tenant.left_behind
        if line.startswith(ACCOUNT) and line.removeprefix(ACCOUNT).split()[0] != account_id
    )
