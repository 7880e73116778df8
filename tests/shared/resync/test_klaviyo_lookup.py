"""Looking many profiles up in Klaviyo: how fast a run may, and how few calls find everybody."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import RefusedError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.resync.klaviyo_lookup import CALLS_PER_MINUTE, KlaviyoLookup, Wanted
from tests.support.world import Clock


class Answering:
    """A Klaviyo that has these profiles, and notes what it is asked and when."""

    def __init__(self, clock: Clock, *profiles: KlaviyoProfile) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.times: list[float] = []
        self._clock = clock
        self._profiles = profiles

    def profiles_by(self, name: str, values: Collection[str]) -> list[KlaviyoProfile]:
        self.asked.append((name, sorted(values)))
        self.times.append(self._clock.timestamp())
        return [profile for profile in self._profiles if getattr(profile, name) in values]


def looking(klaviyo: Any, clock: Clock, *wanted: Wanted) -> Any:
    """Look these up."""
    with ThreadPoolExecutor(1) as readers:
        return KlaviyoLookup(klaviyo, readers, clock, clock.sleep).of(wanted)


@pytest.mark.parametrize("known", [True, False])
def test_never_more_calls_in_a_minute_than_leave_room_for_live_traffic(*, known: bool) -> None:
    clock = Clock()
    klaviyo = Answering(clock)
    with ThreadPoolExecutor(1) as readers:
        look = KlaviyoLookup(klaviyo, readers, clock, clock.sleep)  # type: ignore[arg-type] # of Klaviyo only this is called
        for group in range(300):
            look.of([Wanted(f"k{group}-{n}" if known else "", f"o{group}-{n}") for n in range(1000)])
    assert len(klaviyo.times) > CALLS_PER_MINUTE  # or nothing was held back
    for start in klaviyo.times[::50]:
        within = sum(start <= time < start + 60 for time in klaviyo.times)
        assert within <= CALLS_PER_MINUTE + 20 < 750


def test_whom_klaviyo_has_as_omneo_shows_them_costs_one_look() -> None:
    clock = Clock()
    klaviyo = Answering(
        clock, KlaviyoProfile("k1", "a@b", "o1", phone_number="+61"), KlaviyoProfile("k2", "C@D", "o2")
    )
    known = looking(klaviyo, clock, Wanted("k1", "o1", "a@b", "+61"), Wanted("", "o2", "c@d"))
    assert klaviyo.asked == [("id", ["k1"]), ("external_id", ["o2"])]
    assert (known.of("id", "k1").id, known.of("external_id", "o2").id) == ("k1", "k2")


def test_whoever_has_an_address_is_asked_for_where_the_profile_has_another() -> None:
    clock = Clock()
    klaviyo = Answering(
        clock,
        KlaviyoProfile("k1", "old@b", "o1", phone_number="+61"),
        KlaviyoProfile("k9", "a@b"),
        KlaviyoProfile("k8", phone_number="+62"),
    )
    one = Wanted("", "o1", "a@b", "+62")
    known = looking(klaviyo, clock, one)
    assert [name for name, _ in klaviyo.asked] == ["external_id", "email", "phone_number"]
    found, email, phone = one.find(known), known.of("email", "a@b"), known.of("phone_number", "+62")
    assert (found and found.id, email and email.id, phone and phone.id) == ("k1", "k9", "k8")


class Refusing(Answering):
    """A Klaviyo that refuses each look-up in which one of these values stands, or each at all."""

    def __init__(self, clock: Clock, *bad: str, whatever: bool = False) -> None:
        super().__init__(clock)
        self._bad = {*bad}
        self._whatever = whatever

    def profiles_by(self, name: str, values: Collection[str]) -> list[KlaviyoProfile]:
        if self._whatever or self._bad & {*values}:
            raise RefusedError("invalid", service="Klaviyo", status=400)
        return super().profiles_by(name, values)


@pytest.mark.parametrize("others", [0, 3])
def test_a_value_that_klaviyo_does_not_take_nobody_has(others: int) -> None:
    clock = Clock()
    values = ["bad", *(f"{n}@b" for n in range(others))]
    with ThreadPoolExecutor(1) as readers:
        look = KlaviyoLookup(Refusing(clock, "bad"), readers, clock, clock.sleep)  # type: ignore[arg-type] # as above
        assert look.owners(values, ()).of("email", "bad") is None


@pytest.mark.parametrize("number", [1, 3])
def test_where_klaviyo_refuses_every_look_up_nobody_is_taken_for_missing(number: int) -> None:
    clock = Clock()
    klaviyo = Refusing(clock, whatever=True)
    with ThreadPoolExecutor(1) as readers:
        look = KlaviyoLookup(klaviyo, readers, clock, clock.sleep)  # type: ignore[arg-type] # as above
        with pytest.raises(RefusedError):
            look.owners([f"{n}@b" for n in range(number)], ())


def test_an_identity_counts_before_external_id_and_that_before_email() -> None:
    clock = Clock()
    profiles = (
        KlaviyoProfile("k1"),
        KlaviyoProfile("k2", external_id="o1"),
        KlaviyoProfile("k3", email="a@b"),
    )
    for stored, kept in (("k1", "k1"), ("gone", "k2"), ("", "k2")):
        one = Wanted(stored, "o1", "a@b")
        found = one.find(looking(Answering(clock, *profiles), clock, one))
        assert found is not None
        assert found.id == kept
    one = Wanted("gone", "none", "A@B")
    found = one.find(
        looking(
            Answering(clock, KlaviyoProfile("k3", email="a@b"), KlaviyoProfile("k4", email="A@B")), clock, one
        )
    )
    assert found is not None
