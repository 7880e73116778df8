"""The rows of Klaviyo's endpoints that take much at once; `endpoints.py` takes them into its table.

Klaviyo's API reference, one page for each endpoint.
"""

from deploy.local.sandbox.klaviyo.asked import Endpoint, M, S
from deploy.local.sandbox.klaviyo.deletion_jobs import request_deletion
from deploy.local.sandbox.klaviyo.event_jobs import create_event_job
from deploy.local.sandbox.klaviyo.import_jobs import create_import_job, get_import_errors, get_import_job

_PAGES = frozenset({"page[size]", "page[cursor]"})
_READ, _WRITE = frozenset({"lists:read", "profiles:read"}), frozenset({"lists:write", "profiles:write"})

# `{id}` stands for one segment.
BULK_ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "api/event-bulk-create-jobs": {"POST": Endpoint(frozenset({"events:write"}), M, create_event_job)},
    "api/profile-bulk-import-jobs": {"POST": Endpoint(_WRITE, M, create_import_job)},
    "api/profile-bulk-import-jobs/{id}": {"GET": Endpoint(_READ, M, get_import_job)},
    "api/profile-bulk-import-jobs/{id}/import-errors": {
        "GET": Endpoint(frozenset({"profiles:read"}), M, get_import_errors, _PAGES),
    },
    "api/data-privacy-deletion-jobs": {
        "POST": Endpoint(frozenset({"data-privacy:write"}), S, request_deletion)
    },
}
