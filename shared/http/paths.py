"""Makes segments of the paths that the clients of Klaviyo and Omneo call. The clients hold the paths themselves."""

from urllib.parse import quote

from shared.errors import NotFoundError

# The segments that may be logged; any other segment is an id. A test compares them with the clients.
_WORDS = frozenset(
    {
        *("api", "v1", "v3", "id", "oauth", "auth", "token", "revoke", "verify"),
        *("accounts", "events", "metrics", "lists", "profiles", "webhooks", "webhook-topics", "data-sources"),
        *(
            "event-bulk-create-jobs",
            "profile-import",
            "profile-merge",
            "profile-bulk-import-jobs",
            "import-errors",
        ),
        *("profile-subscription-bulk-create-jobs", "profile-subscription-bulk-delete-jobs"),
        *("profile-suppression-bulk-create-jobs", "profile-suppression-bulk-delete-jobs"),
        *(
            "data-privacy-deletion-jobs",
            "data-source-record-create-jobs",
            "data-source-record-bulk-create-jobs",
        ),
        *("identities", "attributes", "comms", "interactions", "search-id", "rewards", "definitions"),
    }
)


def path_template(path: str) -> str:
    """Return a path as it is logged: without its query, and with `{id}` in place of every segment that is not in the list.

    >>> path_template("/api/v3/profiles/0191f7e2/identities/klaviyo?page=2")
    '/api/v3/profiles/{id}/identities/{id}'
    """
    path = path.partition("?")[0]
    return "/".join(part if not part or part in _WORDS else "{id}" for part in path.split("/"))


def path_segment(id: object, *, service: str) -> str:
    """Return an id as one segment of a path. No id can lead to a path beside or above.

    >>> path_segment("a/b c", service="Omneo"), path_segment(41, service="Omneo")
    ('a%2Fb%20c', '41')

    Raises:
        NotFoundError: no service can have a thing with this id: it is empty, or a step such as "..", which quoting does not change.
    """
    try:
        quoted = quote(str(id), safe="")
    except UnicodeEncodeError:  # half a surrogate pair, which is no text
        quoted = ""
    if quoted in {"", ".", ".."}:
        raise NotFoundError(f"{service} can have nothing with such an id", service=service, status=404)
    return quoted
