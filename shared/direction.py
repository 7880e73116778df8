"""The word for a queue's direction, which jobs and tenants both use."""

from enum import StrEnum


class Direction(StrEnum):
    """The direction of a job: it names one of a tenant's two queues."""

    INBOUND = "inbound"  # Klaviyo to Omneo
    OUTBOUND = "outbound"  # Omneo to Klaviyo
