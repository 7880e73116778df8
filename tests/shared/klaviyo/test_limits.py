"""The names and limits of Klaviyo's endpoints, held beside the sandbox's sheet."""

from deploy.local.sandbox.klaviyo.endpoints import ENDPOINTS
from shared.klaviyo.limits import Endpoint, Limit


def test_a_name_is_a_text_and_can_name_a_document() -> None:
    assert [str(endpoint) for endpoint in Endpoint][:2] == ["events", "bulk-events"]
    assert all("/" not in endpoint for endpoint in Endpoint)


def test_the_limits_are_those_of_the_sheet() -> None:
    sheet = {
        Endpoint.EVENTS: ("api/events", "POST"),
        Endpoint.PROFILE_IMPORT: ("api/profile-import", "POST"),
        Endpoint.BULK_IMPORT: ("api/profile-bulk-import-jobs", "POST"),
        Endpoint.UNSUBSCRIBE: ("api/profile-subscription-bulk-delete-jobs", "POST"),
        Endpoint.DELETE_PROFILE: ("api/data-privacy-deletion-jobs", "POST"),
        Endpoint.BULK_RECORDS: ("api/data-source-record-bulk-create-jobs", "POST"),
        Endpoint.READ_ACCOUNT: ("api/accounts", "GET"),
    }
    for endpoint, (path, method) in sheet.items():
        second, minute = ENDPOINTS[path][method].windows
        assert endpoint.limit == Limit(second.calls, minute.calls), endpoint
