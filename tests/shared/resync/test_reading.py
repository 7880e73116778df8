"""What a run reads: how fast it may, and how few calls find everybody."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.klaviyo.bulk import Held
from shared.omneo.client import ProfilesPage
from shared.resync.reading import CALLS_PER_MINUTE, KlaviyoLook, OmneoList, Wanted
from shared.resync.rules.run import Cursor
from tests.support.world import Clock


class Answering:
    """A Klaviyo that has these profiles, and notes what it is asked and when."""

    def __init__(self, clock: Clock, *profiles: Held) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.times: list[float] = []
        self._clock = clock
        self._profiles = profiles

    def profiles_by(self, name: str, values: Collection[str]) -> list[Held]:
        self.asked.append((name, sorted(values)))
        self.times.append(self._clock.timestamp())
        return [profile for profile in self._profiles if getattr(profile, name) in values]


def looking(klaviyo: Any, clock: Clock, *wanted: Wanted) -> Any:
    """Look these up."""
    with ThreadPoolExecutor(1) as readers:
        return KlaviyoLook(klaviyo, readers, clock, clock.sleep).at(wanted)


@pytest.mark.parametrize("known", [True, False])
def test_never_more_calls_in_a_minute_than_leave_room_for_live_traffic(*, known: bool) -> None:
    clock = Clock()
    klaviyo = Answering(clock)
    with ThreadPoolExecutor(1) as readers:
        look = KlaviyoLook(klaviyo, readers, clock, clock.sleep)  # type: ignore[arg-type] # of Klaviyo only this is called
        for group in range(300):
            look.at([Wanted(f"k{group}-{n}" if known else "", f"o{group}-{n}") for n in range(1000)])
    for start in klaviyo.times[::50]:
        within = sum(start <= time < start + 60 for time in klaviyo.times)
        assert within <= CALLS_PER_MINUTE + 20 < 750


def test_whom_klaviyo_has_as_omneo_shows_them_costs_one_look() -> None:
    clock = Clock()
    klaviyo = Answering(clock, Held("k1", "a@b", "+61", "o1"), Held("k2", "C@D", "", "o2"))
    held = looking(klaviyo, clock, Wanted("k1", "o1", "a@b", "+61"), Wanted("", "o2", "c@d"))
    assert klaviyo.asked == [("id", ["k1"]), ("external_id", ["o2"])]
    assert (held.of("id", "k1").id, held.of("external_id", "o2").id) == ("k1", "k2")


def test_whoever_has_an_address_is_asked_for_where_the_profile_has_another() -> None:
    clock = Clock()
    klaviyo = Answering(
        clock, Held("k1", "old@b", "+61", "o1"), Held("k9", "a@b", "", ""), Held("k8", "", "+62", "")
    )
    one = Wanted("", "o1", "a@b", "+62")
    held = looking(klaviyo, clock, one)
    assert [name for name, _ in klaviyo.asked] == ["external_id", "email", "phone_number"]
    found, email, phone = one.find(held), one.owner("email", held), one.owner("phone_number", held)
    assert (found and found.id, email and email.id, phone and phone.id) == ("k1", "k9", "k8")


def test_an_identity_counts_before_external_id_and_that_before_email() -> None:
    clock = Clock()
    profiles = (Held("k1"), Held("k2", external_id="o1"), Held("k3", email="a@b"))
    for stored, kept in (("k1", "k1"), ("gone", "k2"), ("", "k2")):
        one = Wanted(stored, "o1", "a@b")
        found = one.find(looking(Answering(clock, *profiles), clock, one))
        assert found is not None
        assert found.id == kept
    one = Wanted("gone", "none", "A@B")
    found = one.find(looking(Answering(clock, Held("k3", email="a@b"), Held("k4", email="A@B")), clock, one))
    assert found is not None


class Listing:
    """An Omneo whose list changes."""

    def __init__(self, ids: list[str], size: int) -> None:
        self.ids = ids
        self._size = size
        self.read: list[int] = []

    def profiles_page(self, number: int, *, since: Any = None, size: int = 100) -> ProfilesPage:
        self.read.append(number)
        rows = self.ids[(number - 1) * self._size : number * self._size]
        pages = max(1, -(-len(self.ids) // self._size))
        return ProfilesPage(tuple({"id": id} for id in rows), pages, len(self.ids))


@pytest.mark.parametrize("gone", [0, 1, 4, 5, 9, 14])
def test_deletions_before_the_place_hide_nobody(monkeypatch: pytest.MonkeyPatch, gone: int) -> None:
    monkeypatch.setattr("shared.resync.reading.PAGE_SIZE", 5)
    monkeypatch.setattr("shared.resync.reading.PAGES_AT_ONCE", 2)
    omneo = Listing([f"p{n:03}" for n in range(60)], 5)
    with ThreadPoolExecutor(1) as readers:
        listed = OmneoList(omneo, None, readers)  # type: ignore[arg-type] # of Omneo only this is called
        place, found = Cursor(), list[str]()
        while not place.is_over:
            for page in listed.after(place):
                found += [row["id"] for row in page.rows]
                place = page.after
            if gone and len(found) >= 20:
                del omneo.ids[:gone]
                gone = 0
    assert set(omneo.ids) <= set(found)


def test_no_page_is_read_that_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resync.reading.PAGE_SIZE", 5)
    omneo = Listing([f"p{n:03}" for n in range(60)], 5)
    with ThreadPoolExecutor(1) as readers:
        listed = OmneoList(omneo, None, readers, 60)  # type: ignore[arg-type] # of Omneo only this is called
        pages = listed.after(Cursor(), before=4)
    assert [page.number for page in pages] == [1, 2, 3]
    assert pages[-1].after == Cursor(4, tuple(f"p{n:03}" for n in range(10, 15)))
    assert max(omneo.read) == 3
