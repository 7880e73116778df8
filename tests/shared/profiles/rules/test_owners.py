"""The table that says which Klaviyo profile is a person's and what becomes of each identifier, row by row and over everything."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.profiles.rules.owners import IDENTIFIERS, Fate, FoundBy, Owner, Owners, decide

OURS, FREE, FREE_TOO, OTHERS = Owner("ours"), Owner("free"), Owner("free too"), Owner("others", "somebody")
SENT, MERGED, LEFT_OUT = Fate.SENT, Fate.MERGED, Fate.LEFT_OUT

# Who has what: stored, external_id, email, phone number; the person's profile and by what it is found; what becomes of the three.
TABLE = [
    ((None, None, None, None), ("", "none"), (SENT, SENT, SENT)),
    ((None, None, None, FREE), ("", "none"), (SENT, SENT, LEFT_OUT)),
    ((None, None, None, OTHERS), ("", "none"), (SENT, SENT, LEFT_OUT)),
    ((None, None, FREE, None), ("free", "email"), (SENT, SENT, SENT)),
    ((None, None, FREE, FREE), ("free", "email"), (SENT, SENT, SENT)),
    ((None, None, FREE, FREE_TOO), ("free", "email"), (SENT, SENT, LEFT_OUT)),
    ((None, None, OTHERS, None), ("", "none"), (SENT, LEFT_OUT, SENT)),
    ((None, None, OTHERS, OTHERS), ("", "none"), (SENT, LEFT_OUT, LEFT_OUT)),
    ((None, OURS, None, None), ("ours", "external_id"), (SENT, SENT, SENT)),
    ((None, OURS, OURS, OURS), ("ours", "external_id"), (SENT, SENT, SENT)),
    ((None, OURS, FREE, None), ("ours", "external_id"), (SENT, MERGED, SENT)),
    ((None, OURS, FREE, FREE), ("ours", "external_id"), (SENT, MERGED, MERGED)),
    ((None, OURS, FREE, FREE_TOO), ("ours", "external_id"), (SENT, MERGED, LEFT_OUT)),
    ((None, OURS, OTHERS, OURS), ("ours", "external_id"), (SENT, LEFT_OUT, SENT)),
    ((OURS, None, None, None), ("ours", "stored_identity"), (SENT, SENT, SENT)),
    ((OURS, OURS, FREE, None), ("ours", "stored_identity"), (SENT, MERGED, SENT)),
    ((OURS, FREE, OURS, None), ("ours", "stored_identity"), (MERGED, SENT, SENT)),
    ((OURS, FREE, FREE, FREE), ("ours", "stored_identity"), (MERGED, MERGED, MERGED)),
    ((OURS, OURS, OTHERS, OTHERS), ("ours", "stored_identity"), (SENT, LEFT_OUT, LEFT_OUT)),
    ((OTHERS, None, None, None), ("", "none"), (SENT, SENT, SENT)),
    ((OTHERS, None, OTHERS, None), ("", "none"), (SENT, LEFT_OUT, SENT)),
    ((OTHERS, FREE, OTHERS, None), ("free", "external_id"), (SENT, LEFT_OUT, SENT)),
    ((OTHERS, None, FREE, None), ("free", "email"), (SENT, SENT, SENT)),
]


def owners_of(who: tuple[Owner | None, ...]) -> Owners:
    stored, *others = who
    return Owners(stored, {name: owner for name, owner in zip(IDENTIFIERS, others, strict=True) if owner})


@pytest.mark.parametrize(
    ("who", "absorbed", "taken_over"),
    [
        ((None, None, None, None), (), ()),
        ((None, None, FREE, None), (), ("free",)),
        ((None, OURS, OURS, None), (), ()),
        ((None, OURS, FREE, None), (), ("free",)),
        ((OURS, FREE, FREE_TOO, None), (), ("free", "free too")),
        ((OURS, None, OTHERS, FREE), (), ()),
        ((OURS, OURS, OURS, None), (FREE,), ()),
        ((None, None, FREE, None), (FREE_TOO,), ("free",)),
    ],
)
def test_what_is_nobodys_is_taken_over_and_what_omneo_says_to_be_the_persons_is_not(
    who: tuple[Owner | None, ...], absorbed: tuple[Owner, ...], taken_over: tuple[str, ...]
) -> None:
    assert decide(replace(owners_of(who), absorbed=absorbed)).taken_over == taken_over


@pytest.mark.parametrize(("who", "profile", "fates"), TABLE)
def test_each_row_of_the_table(
    who: tuple[Owner | None, ...], profile: tuple[str, str], fates: tuple[Fate, ...]
) -> None:
    verdict = decide(owners_of(who))
    assert (verdict.klaviyo_id, verdict.found_by.value) == profile
    assert tuple(verdict.fates[name] for name in IDENTIFIERS) == fates


@pytest.mark.parametrize(
    ("absorbed", "merges", "unmerged"),
    [((FREE,), ("free",), ("free",)), ((OTHERS,), (), ("others",)), ((OURS,), (), ()), ((), (), ())],
)
def test_whose_profile_was_merged_in_omneo_is_merged_unless_it_is_anothers(
    absorbed: tuple[Owner, ...], merges: tuple[str, ...], unmerged: tuple[str, ...]
) -> None:
    verdict = decide(Owners(OURS, absorbed=absorbed))
    assert (verdict.klaviyo_id, verdict.merges, verdict.unmerged) == ("ours", merges, unmerged)
    assert set(verdict.fates.values()) == {SENT}


ANYBODY = (
    st.none()
    | st.builds(Owner, st.sampled_from(["a", "b", "c"]), st.just(""))
    | st.builds(Owner, st.sampled_from(["x", "y"]), st.just("somebody"))
)


@given(st.tuples(ANYBODY, ANYBODY, ANYBODY, ANYBODY))
def test_nobody_is_written_to_or_merged_who_belongs_to_another_or_has_the_phone_number_alone(
    who: tuple[Owner | None, ...],
) -> None:
    owners = owners_of(who)
    verdict = decide(owners)
    by: Mapping[str, Owner] = owners.by
    found = {owner.id for owner in (owners.stored, by.get("external_id"), by.get("email")) if owner}
    free = {owner.id for owner in who if owner and not owner.holder}
    assert {verdict.klaviyo_id, *verdict.merges} - {""} <= found & free
    assert verdict.klaviyo_id not in verdict.merges
    assert (verdict.klaviyo_id == "") == (verdict.found_by is FoundBy.NONE)
    for name, fate in verdict.fates.items():
        is_free = name not in by or by[name].id == verdict.klaviyo_id
        assert (fate is SENT) == is_free == (name not in verdict.owners)
        assert (fate is MERGED) == (not is_free and by[name].id in verdict.merges)
