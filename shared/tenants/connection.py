"""Whether a tenant has a usable Klaviyo account, with a message for the caller."""

from shared.errors import ConflictError, NotInstalledError
from shared.tenants.tenants import Tenant

INSTALL_FIRST = "Install the app from Klaviyo's marketplace first."
INSTALL_AGAIN = "The Klaviyo account is disconnected: install the app again."


def check_installed(tenant: Tenant) -> None:
    """Raise unless a Klaviyo account is connected, be it disconnected for the moment.

    Raises:
        NotInstalledError: none is.
    """
    if tenant.klaviyo is None:
        raise NotInstalledError(INSTALL_FIRST)


def check_connected(tenant: Tenant) -> None:
    """Raise unless a Klaviyo account is connected whose tokens work, as far as is known.

    Raises:
        NotInstalledError: none is.
        ConflictError: Klaviyo no longer accepts our tokens.
    """
    check_installed(tenant)
    if not tenant.is_connected:
        raise ConflictError(INSTALL_AGAIN)
