"""The word for a queue's direction, which jobs and tenants both use."""

from enum import StrEnum


class Direction(StrEnum):
    """Which of a tenant's two queues a job travels on."""

    INBOUND = "inbound"  # Klaviyo to Omneo
    OUTBOUND = "outbound"  # Omneo to Klaviyo
