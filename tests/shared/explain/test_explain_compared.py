"""What explain says is what is then sent: for any profile, whatever Klaviyo holds and whatever was synced before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.direction import Direction
from shared.errors import CannotSucceedError, WaitError
from shared.explain.explain import explain
from shared.jobs.jobs import PullOptOut, SyncProfile, read_job
from shared.jobs.rules.windows import Window
from shared.profiles.sync import sync_profile
from shared.profiles.synced import SyncedProfiles
from tests.support.syncing import PHONE, PROFILES, SUBSCRIBE, UNSUBSCRIBE, Shop, a_shop, reads_alone
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

Json = Any
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
LOGIC = {
    "or": [
        {"==": [{"var": "tier_handle"}, "staff"]},
        {"and": [{"var": "last_name"}, {">": [{"var": "birth_day"}, 20]}]},
    ]
}


@dataclass(frozen=True)
class Held:
    """A Klaviyo profile: which identifiers of the customer's it has, and what became of its consents, how long ago."""

    has: frozenset[str]
    acts: tuple[tuple[str, str, float], ...]


FLAGS = st.sampled_from([None, True, False])
STAMPS = st.sampled_from([None, -90_000.0, -300.0, 0.0, 90_000.0])
COMMS = st.fixed_dictionaries(
    {
        f"{channel}_{name}": values
        for channel in ("email", "sms")
        for name, values in (
            ("promo", FLAGS),
            ("optout", FLAGS),
            ("bounced", FLAGS),
            ("consent_updated_at", STAMPS),
        )
    }
)
FIELDS = st.fixed_dictionaries(
    {
        "email": st.sampled_from([EMAIL, EMAIL, EMAIL.upper(), None, "canary no address"]),
        "mobile_phone_e164": st.sampled_from([PHONE, PHONE, None, "canary no number"]),
        "first_name": st.sampled_from(["Jane", "Unknown", None]),
        "last_name": st.sampled_from(["canary-Doe", ""]),
        "tier_handle": st.sampled_from(["gold", "gold", "staff", None]),
        "birth_day": st.sampled_from([1, 21, None]),
        "comms": COMMS,
    }
)
ACTS = st.tuples(
    st.sampled_from(["subscribe", "unsubscribe"]),
    st.sampled_from(["email", "sms"]),
    st.sampled_from([100.0, 100_000.0]),
)
IDENTIFIERS = frozenset({"external_id", "email", "phone_number"})
HELD = st.builds(
    Held,
    st.frozensets(st.sampled_from(["email", "phone_number", "external_id"]), min_size=1),
    st.lists(ACTS, max_size=2).map(tuple),
)
IDENTITIES = st.sampled_from(["none", "none", "the first", "unknown"])
SETTINGS = st.fixed_dictionaries(
    {
        "sms_transactional": st.booleans(),
        "master_list_id": st.sampled_from([None, "LIST1"]),
        "profile_exclude_logic": st.sampled_from([None, LOGIC]),
        "mappings": st.sampled_from([{}, {"last_name": "$organization", "email": "$id"}]),
    }
)


@pytest.fixture
def compared(
    tmp_path_factory: pytest.TempPathFactory, make_world: Callable[[Any], Any]
) -> Callable[..., None]:
    """Return a function that makes a world of an example, and compares."""

    def compare(
        fields: dict[str, Json],
        changes: dict[str, Json] | None,
        held: list[Held],
        identity: str,
        tenant: dict[str, Json],
    ) -> None:
        with make_world(tmp_path_factory.mktemp("explained")) as world, a_shop(world, **tenant) as shop:
            shop.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="LIST1")
            id = shop.customer(tells=False, **dated(shop, fields))
            hold(shop, id, fields, held, identity)
            check(shop, id)
            if changes is not None:
                world.clock.advance(500)
                shop.omneo.change_profile(TENANT, id, tells=False, **dated(shop, changes))
                check(shop, id)

    return compare


def test_what_explain_says_is_what_is_then_sent(compared: Callable[..., None]) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(FIELDS, st.none() | FIELDS, st.lists(HELD, max_size=3), IDENTITIES, SETTINGS)
    def holds(
        fields: dict[str, Json],
        changes: dict[str, Json] | None,
        held: list[Held],
        identity: str,
        tenant: dict[str, Json],
    ) -> None:
        compared(fields, changes, held, identity, tenant)

    holds()


def test_an_opt_in_that_is_newer_than_omneos_opt_out_is_left_alone_by_who_merges_another_profile_into_hers(
    compared: Callable[..., None],
) -> None:
    out = {"sms_promo": False, "sms_consent_updated_at": -300.0}
    fields = {"email": EMAIL, "mobile_phone_e164": PHONE, "comms": out}
    hers = Held(frozenset({"external_id", "phone_number"}), (("subscribe", "sms", 100.0),))
    for whose in ((), (("subscribe", "email", 100_000.0),)):
        compared(fields, fields, [hers, Held(frozenset({"email"}), whose)], "none", {})


def test_what_takes_an_opt_out_back_is_asked_for_in_transactional_texts_too(
    compared: Callable[..., None],
) -> None:
    fields = {"email": EMAIL, "mobile_phone_e164": PHONE, "comms": {"sms_optout": True}}
    taken_back = {"sms_optout": None, "sms_promo": None, "sms_consent_updated_at": 0.0}
    compared(fields, {**fields, "comms": taken_back}, [], "none", {"sms_transactional": True})


def dated(shop: Shop, fields: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields with the stamps as times from now."""
    comms = {
        name: shop.now(value) if isinstance(value, float) else value
        for name, value in fields["comms"].items()
    }
    return {**fields, "comms": comms}


def without_known(told: Json, sent: Json) -> Json:
    """Return what was said to be sent, without the identifiers if Klaviyo has shown that it has them all."""
    if told is None or sent is None or IDENTIFIERS & sent["attributes"].keys():
        return told
    rest = {name: value for name, value in told["attributes"].items() if name not in IDENTIFIERS}
    return {**told, "attributes": rest}


def hold(shop: Shop, id: str, fields: Mapping[str, Json], held: list[Held], identity: str) -> None:
    """Let Klaviyo hold these profiles, none of them with an identifier of another, and Omneo an identity."""
    ours = {"email": EMAIL, "phone_number": PHONE, "external_id": id}
    first = ""
    for one in held:
        taken = {name: ours.pop(name) for name in sorted(one.has) if name in ours}
        if not taken:
            continue
        known = shop.klaviyo.profile(ACCOUNT, **taken)
        first = first or known.id
        for act, channel, ago in one.acts:
            if ("email" if channel == "email" else "phone_number") in taken:
                at = shop.world.clock.timestamp() - ago
                getattr(shop.klaviyo, act)(ACCOUNT, known.id, channel=channel, at=at)
    stored = {"the first": first, "unknown": "01UNKNOWN"}.get(identity, "")
    if stored:
        shop.world.services.omneo(shop.world.read()).create_identity(id, handle="klaviyo", identifier=stored)


def check(shop: Shop, id: str) -> None:
    """Explain, see that this was all, sync, and compare."""
    world = shop.world
    shop.forget_calls()
    told = explain(world.read(), id, world.services, reveal=True)
    assert reads_alone(shop)
    shop.forget_calls()
    before = len(world.queued(Direction.INBOUND))
    until = Window.at(world.clock()).end
    job = SyncProfile(tenant=TENANT, id="sync", accepted_at=world.clock(), profile_id=id, until=until)
    try:
        sync_profile(job, world.read(), world.services)
    except (CannotSucceedError, WaitError):
        left_out = {note["reason"] for note in told["notes"]} & {"of_another", "merging"}
        assert left_out or told["excluded"]["reason"] == "undecided"
    sent = shop.profile_writes()[-1] if shop.profile_writes() else None
    assert without_known(told["would_send"], sent) == sent
    assert (told["excluded"]["reason"] is None) == (sent is not None)
    assert asked_for(told, "subscribe") == jobs(shop, SUBSCRIBE)
    assert asked_for(told, "unsubscribe") == jobs(shop, UNSUBSCRIBE)
    pulled = [read_job(body) for body in world.queued(Direction.INBOUND)[before:]]
    assert asked_for(told, "pull_opt_out") == {
        job.channel.value for job in pulled if isinstance(job, PullOptOut)
    }
    if sent is not None:
        check_matched(shop, id, told)


def check_matched(shop: Shop, id: str, told: Mapping[str, Json]) -> None:
    """Compare whom the import has changed with whom it was said to."""
    synced = SyncedProfiles.of(shop.world.services).find(TENANT, id)
    said = told["matched"]["klaviyo_id"]
    assert said in (None, synced.klaviyo_id)
    assert (said is None) == (told["matched"]["by"] == "none")
    if said is None:
        (made,) = [row for row in shop.klaviyo.profiles(ACCOUNT) if row.id == synced.klaviyo_id]
        assert made.created_at == shop.world.clock.timestamp()


def asked_for(told: Mapping[str, Json], outcome: str) -> set[str]:
    """Return the consents that were said to come to this."""
    return {row["consent"] for row in told["consent"] if row["outcome"] == outcome}


def jobs(shop: Shop, path: str) -> set[str]:
    """Return the consents that jobs of a path were about."""
    rows = [row for body in shop.bodies(path) for row in body["attributes"]["profiles"]["data"]]
    asked = [row["attributes"]["subscriptions"] for row in rows]
    named = {f"{channel}_{kind}" for row in asked for channel, kinds in row.items() for kind in kinds}
    return {name.removesuffix("_marketing") for name in named}


def test_the_comparison_sees_what_is_not_foreseen(world: World) -> None:
    with a_shop(world) as shop:
        id = shop.customer(tells=False, mobile_phone_e164=PHONE)
        body = {"errors": [{"id": "1", "code": "invalid", "title": "Invalid.", "detail": "No."}]}
        body["errors"][0]["source"] = {"pointer": "/data/attributes/phone_number"}  # type: ignore[assignment]  # one row of many kinds
        shop.klaviyo.fail(1, match=f"POST {PROFILES}", status=400, body=body)
        with pytest.raises(AssertionError, match="phone_number"):
            check(shop, id)
