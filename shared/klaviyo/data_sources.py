"""Data sources made in Klaviyo, once each, however many tenants share an account."""

from typing import TYPE_CHECKING

from shared.errors import RefusedError

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient


def made_data_source(title: str, description: str, klaviyo: "KlaviyoClient") -> str:
    """Make a data source, unless another caller has just made it, and return its id."""
    try:
        return klaviyo.create_data_source(title, description)
    except RefusedError as error:
        # Another tenant of the same account may have been faster. It is not documented which answer shows that.
        id = klaviyo.data_sources().get(title) if error.status in (400, 409) else None
        if id is None:
            raise
        return id
