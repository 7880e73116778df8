"""The sandbox's listing of Omneo's profiles: pages, orders, filters, and that what changes is found where it is now."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.omneo.directory import Profiles, Query
from tests.deploy.local.sandbox.times import NOON

JANE = "canary-jane@example.org"
PROFILES = "/api/v3/profiles"
Call = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, seed=1, token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme")
        yield sandbox


@pytest.fixture
def call(sandbox: Sandbox) -> Call:
    def call(method: str, path: str, **more: Any) -> requests.Response:
        url = path if path.startswith("http") else sandbox.omneo.url_template.format(tenant="acme") + path
        headers = {"Authorization": "Bearer canary-token-acme"}
        return requests.request(method, url, headers=headers, timeout=60, **more)

    return call


def at(hour: int) -> str:
    return f"2026-09-{20 + hour // 24:02} {hour % 24:02}:00:00"


def a_base(sandbox: Sandbox, hours: list[int], **fields: Any) -> list[str]:
    """Keep a profile for each hour at which one was changed, and return their ids."""

    def make(number: int) -> dict[str, Any]:
        return {
            "id": f"canary-{(number * 7) % 10}",
            "created_at": at(9 - number),
            "updated_at": at(hours[number]),
            **fields,
        }

    sandbox.omneo.seed_profiles("acme", len(hours), make)
    return [make(number)["id"] for number in range(len(hours))]


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200
    return [row["id"] for row in answer.json()["data"]]


def test_profiles_come_in_every_order_the_sdk_asks_for(sandbox: Sandbox, call: Call) -> None:
    made = a_base(sandbox, [5, 3, 5, 1])
    orders = {
        "": made,
        "created_at": made[::-1],
        "-created_at": made,
        "updated_at": [made[3], made[1], made[0], made[2]],
        "-updated_at": [made[2], made[0], made[1], made[3]],
        "id": sorted(made),
    }
    for sort, expected in orders.items():
        assert ids(call("GET", PROFILES, params={"sort": sort} if sort else {})) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"filter[updated_at][gte]": at(3)}, [0, 1, 2]),
        ({"filter[updated_at][gt]": at(3)}, [0, 2]),
        ({"filter[updated_at][lte]": at(3)}, [1, 3]),
        ({"filter[updated_at][lt]": at(3), "sort": "updated_at"}, [3]),
        ({"filter[updated_at][gt]": at(3), "sort": "updated_at"}, [0, 2]),
        ({"filter[updated_at][lte]": at(3), "sort": "updated_at"}, [3, 1]),
        ({"filter[updated_at][gt]": at(1), "filter[updated_at][lt]": at(5)}, [1]),
        ({"filter[updated_at][gte]": at(3), "sort": "-updated_at"}, [2, 0, 1]),
        ({"filter[updated_at][gte]": at(3), "sort": "created_at"}, [2, 1, 0]),
        ({"filter[updated_at][gte]": at(3), "filter[created_at][lt]": at(9)}, [1, 2]),
        ({"filter[created_at][gte]": at(7), "filter[created_at][lte]": at(8), "sort": "created_at"}, [2, 1]),
        ({"filter[updated_at][gt]": at(5), "filter[updated_at][lt]": at(3), "sort": "updated_at"}, []),
    ],
)
def test_profiles_are_filtered_by_when_they_were_made_and_changed(
    sandbox: Sandbox, call: Call, parameters: dict[str, str], expected: list[int]
) -> None:
    made = a_base(sandbox, [5, 3, 5, 1])
    answer = call("GET", PROFILES, params=parameters)
    assert ids(answer) == [made[number] for number in expected]
    assert answer.json()["meta"]["total"] == len(expected)


def test_profiles_are_filtered_by_type_and_by_email_with_everything_else(
    sandbox: Sandbox, call: Call
) -> None:
    jane = sandbox.omneo.profile("acme", email=JANE, profile_type="pending")
    sandbox.omneo.profile("acme", email="canary-other@example.org")
    assert ids(call("GET", PROFILES, params={"filter[profile_type]": "pending"})) == [jane["id"]]
    assert ids(call("GET", PROFILES, params={"filter[profile_type][eq]": "deleted"})) == []
    both = {"filter[email]": JANE.upper(), "sort": "-updated_at"}
    assert ids(call("GET", PROFILES, params=both)) == [jane["id"]]
    assert ids(call("GET", PROFILES, params={**both, "filter[profile_type]": "active"})) == []
    assert ids(call("GET", PROFILES, params={**both, "filter[updated_at][lt]": jane["updated_at"]})) == []


@pytest.mark.parametrize("sort", ["", "updated_at", "-updated_at", "-created_at", "id"])
def test_pages_follow_each_other_and_keep_order_and_filter(sandbox: Sandbox, call: Call, sort: str) -> None:
    a_base(sandbox, [5, 3, 5, 1, 4, 4, 2])
    parameters: dict[str, Any] = {"filter[updated_at][gte]": at(2), "page[size]": 2}
    if sort:
        parameters["sort"] = sort
    whole = ids(call("GET", PROFILES, params={**parameters, "page[size]": 100}))
    body = call("GET", PROFILES, params=parameters).json()
    seen = [body]
    while (following := seen[-1]["links"]["next"]) is not None:
        seen.append(call("GET", following).json())
    assert [row["id"] for page in seen for row in page["data"]] == whole
    assert [(page["meta"]["from"], page["meta"]["to"]) for page in seen] == [(1, 2), (3, 4), (5, 6)]
    assert {(page["meta"]["total"], page["meta"]["last_page"]) for page in seen} == {(6, 3)}
    past = call("GET", PROFILES, params={**parameters, "page[number]": 9}).json()
    assert (past["data"], past["meta"]["from"], past["links"]["next"]) == ([], None, None)


def test_a_page_has_at_most_a_hundred_profiles(sandbox: Sandbox, call: Call) -> None:
    sandbox.omneo.seed_profiles("acme", 101, lambda number: {})
    assert len(call("GET", PROFILES, params={"page[size]": 500}).json()["data"]) == 100


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"sort": "email"}, 501),
        ({"sort": "-id"}, 501),
        ({"filter[tier]": "Gold"}, 501),
        ({"filter[updated_at]": at(1)}, 501),
        ({"filter[updated_at][in]": at(1)}, 501),
        ({"filter[profile_type][gt]": "active"}, 501),
        ({"filter[]": "x"}, 501),
        ({"filter[updated_at][gte]": "2026-09-20T01:00:00Z"}, 422),
        ({"filter[created_at][lt]": "yesterday"}, 422),
    ],
)
def test_an_unknown_order_or_filter_is_refused_and_not_ignored(
    sandbox: Sandbox, call: Call, parameters: dict[str, str], status: int
) -> None:
    sandbox.omneo.profile("acme")
    answer = call("GET", PROFILES, params=parameters)
    assert answer.status_code == status
    if status == 422:
        assert list(answer.json()["errors"]) == list(parameters)


def test_a_change_moves_updated_at_and_the_place_in_the_list(sandbox: Sandbox, call: Call) -> None:
    first, second, third = (sandbox.omneo.profile("acme", email=f"canary-{n}@example.org") for n in range(3))
    newest = {"sort": "-updated_at"}
    assert ids(call("GET", PROFILES, params=newest)) == [third["id"], second["id"], first["id"]]
    sandbox.advance(60)
    body = {"tenant": "acme", "id": first["id"], "email": JANE, "first_name": "Jane"}
    answer = requests.post(f"{sandbox.omneo.url}/_sandbox/change-profile", json=body, timeout=60)
    changed = answer.json()["profile"]
    assert (changed["updated_at"], changed["created_at"]) == ("2026-09-21 14:14:20", "2026-09-21 14:13:20")
    assert changed["full_name"] == "Jane Unknown"
    sandbox.advance(60)
    call("PUT", f"{PROFILES}/{second['id']}/attributes/comms", json={"email_promo": True})
    assert ids(call("GET", PROFILES, params=newest)) == [second["id"], first["id"], third["id"]]
    since = {"filter[updated_at][gt]": changed["updated_at"]}
    assert ids(call("GET", PROFILES, params=since)) == [second["id"]]
    assert ids(call("GET", PROFILES, params={"filter[email]": JANE})) == [first["id"]]
    assert ids(call("GET", PROFILES, params={"filter[email]": "canary-0@example.org"})) == []


def test_a_profile_is_found_by_an_identity_it_was_given_later(sandbox: Sandbox, call: Call) -> None:
    jane = sandbox.omneo.profile("acme", identities=[{"handle": "klaviyo", "identifier": "01HX"}])
    path, asked = f"{PROFILES}/search-id", {"type": "klaviyo", "id": "01HY"}
    assert call("POST", path, json=asked).status_code == 404
    sandbox.omneo._tenants["acme"].profiles[jane["id"]]["identities"] = [
        {"handle": "klaviyo", "identifier": "01HY"}
    ]
    assert call("POST", path, json=asked).json()["data"]["id"] == jane["id"]
    assert call("POST", path, json={"type": "klaviyo", "id": "01HX"}).status_code == 404


def test_a_seeded_profile_is_the_same_whole_profile_each_time(sandbox: Sandbox, call: Call) -> None:
    body = {
        "tenant": "acme",
        "count": 3,
        "profile": {
            "email": "canary-{n}@example.org",
            "identities": [{"handle": "shop", "identifier": "canary-shop-{n}"}],
        },
    }
    answer = requests.post(f"{sandbox.omneo.url}/_sandbox/seed-profiles", json=body, timeout=60)
    assert answer.status_code == 200
    listed = call("GET", PROFILES).json()["data"]
    assert [row["email"] for row in listed] == [f"canary-{n}@example.org" for n in range(3)]
    asked = {"type": "shop", "id": "canary-shop-1"}
    assert call("POST", f"{PROFILES}/search-id", json=asked).json()["data"] == listed[1]
    assert call("GET", f"{PROFILES}/{listed[1]['id']}").json()["data"] == listed[1]
    assert sandbox.omneo.profiles("acme") == listed
    made = sandbox.omneo.profile("acme", **{**body["profile"], "id": "canary-id"})  # type: ignore[dict-item]  # JSON
    assert set(made) == set(listed[0])
    assert set(made["identities"][0]) == set(listed[0]["identities"][0])


def test_a_page_of_a_large_base_takes_no_longer_than_one_of_a_small_base(
    sandbox: Sandbox, call: Call
) -> None:
    def seconds(count: int) -> float:
        sandbox.omneo.tenant("acme", token="canary-token-acme")
        sandbox.omneo.seed_profiles("acme", count, lambda number: {"updated_at": at(number % 96)})
        profiles = sandbox.omneo._tenants["acme"].profiles
        wanted = Query(sort="updated_at", spans={"updated_at": {"gte": at(20)}})
        profiles.find(wanted)  # the order is made once
        began = time.process_time()
        for page in range(20):
            assert len(profiles.find(wanted).between(page, page + 10)) == 10
        return time.process_time() - began

    assert seconds(20_000) < 3 * seconds(200) + 0.01


TIMES = st.integers(0, 3).map(
    lambda hour: datetime.fromtimestamp(NOON + hour, UTC).strftime("%Y-%m-%d %H:%M:%S")
)
ACTS = st.tuples(
    st.sampled_from(["keep", "change", "remove", "seed", "look"]), st.integers(0, 4), TIMES, st.integers(0, 2)
)


def shown(profiles: dict[str, dict[str, Any]], query: Query) -> list[str]:
    """Find by going through all of them, as the directory must not."""
    rows = [
        row
        for row in profiles.values()
        if query.profile_type in (None, row["profile_type"])
        and query.email in (None, row["email"])
        and all(row[name] >= span["gte"] for name, span in query.spans.items())
    ]
    if query.sort:
        rows.sort(key=lambda row: str(row[query.sort]))
        if query.descending:
            # Of the same time the one made first is last here.
            places = list(profiles)
            rows.sort(key=lambda row: (row[query.sort], places.index(row["id"])), reverse=True)
    return [row["id"] for row in rows]


def carry_out(
    directory: Profiles, plain: dict[str, dict[str, Any]], act: str, id: str, changes: dict[str, Any]
) -> None:
    """Do the same to both, if it can be done."""
    row = {"id": id, "created_at": changes["updated_at"], **changes}
    if act == "remove" and id in plain:
        del plain[id], directory[id]
    elif act == "change" and id in plain:
        plain[id].update(changes)
        directory[id].update(changes)
    elif act == "keep" and id not in plain:
        plain[id], directory[id] = dict(row), dict(row)
    elif act == "seed" and id not in plain:
        plain[id] = dict(row)
        directory.seed(id, row, lambda: dict(row))


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTS, max_size=20), TIMES)
def test_the_directory_finds_what_a_look_at_every_profile_finds(
    acts: list[tuple[str, int, str, int]], since: str
) -> None:
    directory, plain = Profiles(), dict[str, dict[str, Any]]()
    queries = [
        Query(sort=sort, descending=descending, profile_type=kind, email=email, spans=spans)
        for sort, descending in (("", False), ("updated_at", False), ("updated_at", True), ("id", False))
        for kind in (None, "1")
        for email in (None, "canary-1")
        for spans in ({}, {"updated_at": {"gte": since}}, {"created_at": {"gte": since}})
    ]
    for act, name, stamp, kind in [*acts, ("look", 0, since, 0)]:
        identity = {"handle": "shop", "identifier": str(kind)}
        changes = {
            "email": f"canary-{kind}",
            "profile_type": str(kind),
            "updated_at": stamp,
            "identities": [identity],
        }
        carry_out(directory, plain, act, f"canary-{name}", changes)
        holders = [row for row in plain.values() if identity in row["identities"]]
        assert directory.with_identity("shop", str(kind)) == (holders[0] if holders else None)
        # The last query is asked after every act, so that an answer kept from before would be noticed.
        for query in queries if act == "look" else queries[-1:]:
            found = directory.find(query)
            assert [row["id"] for row in found.between(0, 99)] == shown(plain, query)
            assert found.total == len(shown(plain, query))


def test_profiles_and_definitions_are_read_from_outside_by_what_is_searched_for(sandbox: Sandbox) -> None:
    for number in range(3):
        sandbox.omneo.profile("acme", email=f"canary-{number}@example.org", first_name=f"Jane {number}")
    sandbox.omneo.reward_definition("acme", name="Birthday")
    url = f"{sandbox.omneo.url}/_sandbox"

    def found(query: str) -> list[str]:
        rows = requests.get(f"{url}/profiles?tenant=acme{query}", timeout=60).json()["profiles"]
        return [row["first_name"] for row in rows]

    assert len(found("")) >= 3
    assert found("&search=JANE%201") == found("&search=canary-1@") == ["Jane 1"]
    assert found("&search=jane&limit=2") == ["Jane 1", "Jane 2"]
    assert found("&search=canary-nobody") == found("&limit=0") == []
    told = requests.get(f"{url}/reward-definitions?tenant=acme", timeout=60).json()["reward_definitions"]
    assert [row["name"] for row in told][-1] == "Birthday"
