"""The laws of a quiet world, judged by the acts of the people.

The only note of ours that they read is the ledger, and they judge the ledger itself.
"""

import json
from collections import Counter
from collections.abc import Mapping

from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.subscriptions import (
    HARD_BOUNCE,
    SPAM_COMPLAINT,
    SUBSCRIBED,
    UNSUBSCRIBE,
    USER_SUPPRESSED,
)
from shared.consent.ledger import ConsentLedger
from shared.consent.rules.decisions import TABLE, canonical, row_of
from shared.consent_events import Channel
from shared.jobs.dead_jobs import DeadJobStore
from tests.world import bundle
from tests.world.oracle import IN, OUT, Person, way_in_omneo
from tests.world.shop import Asked
from tests.world.world import TENANT, SimulatedWorld

CALLS, CALLS_EACH = 60, 30  # most outside calls of a history, and of each act and fault
_NEAR = 6 * 60.0  # so long after a death a call that it has cut off may still land, for all that is known
APART = 4.0  # seconds by which nobody can tell which of two acts on two sides came first
_PERSONS_OWN = (UNSUBSCRIBE, SPAM_COMPLAINT, USER_SUPPRESSED)


def judge_consent(world: SimulatedWorld) -> None:
    """Law 1: both sides show each person's last act on each channel."""
    for person in world.persons:
        for channel in ("email", "sms"):
            _judge_channel(world, person, channel)


def _judge_channel(world: SimulatedWorld, person: Person, channel: str) -> None:
    omneo = world.omneo_profile(person)
    if person.merged_into:
        _judge_merged(world, person, channel)
        return
    if person.shares(channel, world.everybody):
        _judge_shared(world, person, channel)
        return
    if omneo is None or person.is_excluded:
        _judge_gone(world, person, channel)
        return
    last, wanted = person.last(channel), person.wanted(channel, APART)
    if last is None or _nobody_can_know(person, channel):
        return
    if wanted == {IN} and any(
        other.leaves_opt_out_to(person, channel) or person.gave_up_to(other, channel)
        for other in world.persons
    ):
        wanted = {IN, OUT}
    klaviyo_way = way_in_klaviyo(world.klaviyo_profile(person), channel)
    omneo_way = way_in_omneo(omneo["attributes"]["comms"], channel)
    if klaviyo_way == IN and _may_be_in(person, channel, omneo_way, wanted):
        return
    if not _is_well(wanted, klaviyo_way, omneo_way, may_wait=_may_wait(world, person, channel)):
        shown = f"{person.name}'s {channel}: Klaviyo {klaviyo_way}, Omneo {omneo_way}"
        world.breaks(f"law 1: {shown}; the last act was {last.what}")


def _may_be_in(person: Person, channel: str, omneo_way: str, wanted: set[str]) -> bool:
    """Return whether Klaviyo may have a person in, because nobody else can know that the person is out, or is in again."""
    if person.opted_out_unseen(channel) and (omneo_way == IN or person.signed_up_without_an_event(channel)):
        return True
    return omneo_way == OUT and wanted == {IN, OUT} and person.signed_up_unheard(channel)


def _judge_merged(world: SimulatedWorld, person: Person, channel: str) -> None:
    """If a person was merged into one who has opted out, Klaviyo does not write to the former address either."""
    heir = next((one for one in world.persons if one.name == person.merged_into), None)
    left = world.account.owner("external_id", person.omneo)
    if heir is None or left is None or person.untold or heir.untold or not heir.is_living:
        return
    rows = (world.omneo_profile(heir) or {}).get("identities") or ()
    if heir.is_excluded and left.id not in {row["identifier"] for row in rows}:
        return  # a search by email alone finds nobody for a person who is not synced
    if heir.wanted(channel, APART) == {OUT} and way_in_klaviyo(left, channel) == IN:
        world.breaks(f"law 1: {person.name} is one with {heir.name}, who has opted out, and is written to")


def _judge_shared(world: SimulatedWorld, person: Person, channel: str) -> None:
    """Of an address that several have, the consent may be anyone's; but where all have opted out, nobody is written to there."""
    address = person.address(channel).casefold()
    sharing = [one for one in world.everybody if one.is_living and one.address(channel).casefold() == address]
    # Of a sign-up without an event nobody but Klaviyo knows.
    are_out = all(
        one.wanted(channel, APART) == {OUT} and not one.signed_up_unheard(channel) for one in sharing
    )
    if are_out and way_in_klaviyo(world.mailbox(person, channel), channel) == IN:
        world.breaks(f"law 1: all who have {person.name}'s {channel} have opted out, and it is written to")


def _is_well(wanted: set[str], klaviyo: str, omneo: str, *, may_wait: bool) -> bool:
    if wanted == {OUT}:
        return (klaviyo, omneo) == (OUT, OUT)
    if may_wait and klaviyo == OUT:
        return True
    return klaviyo == omneo and klaviyo in wanted


def _may_wait(world: SimulatedWorld, person: Person, channel: str) -> bool:
    """Return whether an opt-in may stay without effect in Klaviyo. Klaviyo may ask the person first, fail to deliver to
    the address, or have a complaint of theirs, which we never lift. A suppression from a deletion may have stayed. Or a
    profile whose person is gone may still have the phone number: somebody has to decide about that, since Omneo has no
    search by number.
    """
    profile, omneo = world.klaviyo_profile(person), world.omneo_profile(person)
    is_dead = omneo is not None and omneo["attributes"]["comms"][f"{channel}_bounced"] is True
    reasons = (HARD_BOUNCE, SPAM_COMPLAINT) if channel == "email" and profile is not None else ()
    is_suppressed = profile is not None and any(profile.subscriptions.is_suppressed(one) for one in reasons)
    has_address = is_address(person, channel)
    is_gone = person.was_told_dead or person.was_erased
    number = world.mailbox(person, "sms") if channel == "sms" else None
    is_gone = is_gone or (number is not None and number is not profile)
    is_never_asked = is_suppressed or person.complains(channel)
    return world.plan.double_opt_in or is_dead or is_never_asked or not has_address or is_gone


def _judge_gone(world: SimulatedWorld, person: Person, channel: str) -> None:
    """Klaviyo does not write to an excluded person who has opted out, and never to a deleted one."""
    profile, last = world.account.owner("external_id", person.omneo), person.last(channel)
    if profile is None or way_in_klaviyo(profile, channel) == OUT:
        return
    if person.is_excluded and last is not None and last.way == OUT:
        world.breaks(
            f"law 1: {person.name} is excluded and Klaviyo still writes to their {channel}; the last act was {last.what}"
        )
    has_come_back = (
        last is not None and last.side == "klaviyo" and last.way == IN and last.at >= person.died_at
    )
    if (
        not person.is_living
        and channel == "email"
        and profile.attributes.get("email")
        and not (person.untold or person.is_unsuppressed or has_come_back)
    ):
        held_by_another = any(
            other.is_living and other.email == profile.attributes.get("email") for other in world.persons
        )
        if not held_by_another:
            world.breaks(f"law 1: {person.name} is deleted and Klaviyo still writes to them")


def is_address(person: Person, channel: str) -> bool:
    """Return whether the person has an address on the channel that Klaviyo takes."""
    return "@" in person.email if channel == "email" else len(person.phone) > 6


def _nobody_can_know(person: Person, channel: str) -> bool:
    """Return whether the last act was a sign-up in Klaviyo that it recorded no event of: only opt-outs are looked for."""
    last = person.last(channel)
    return last is not None and (last.side, last.way, last.events) == ("klaviyo", IN, frozenset())


def way_in_klaviyo(profile: Profile | None, channel: str) -> str:
    """Return in or out.

    A person without a decision is out, and so is one without an address in Klaviyo, which then writes to nobody.
    """
    if profile is None or not profile.attributes.get("email" if channel == "email" else "phone_number"):
        return OUT
    subscriptions = profile.subscriptions
    if subscriptions.consents[channel].status != SUBSCRIBED:
        return OUT
    suppressed = channel == "email" and any(subscriptions.is_suppressed(reason) for reason in _PERSONS_OWN)
    return OUT if suppressed else IN


_AFTER = {"subscribed": IN, "unsubscribed": OUT}


def judge_ledger(world: SimulatedWorld) -> None:
    """Law 5: the ledger's last line equals Omneo's consent. Lines may stand in either order if their times differ by
    less than the clocks of our machines. After a deletion, the last line is the deletion's line about Klaviyo. If the
    person is restored at once, it stays the last line until a new decision.
    """
    ledger = ConsentLedger(world.documents, world.clock)
    tenant = world.tenant()
    for person in world.persons:
        omneo = world.omneo_profile(person)
        if omneo is None or tenant.ledger_key is None:
            continue
        records = ledger.records_of(tenant, person.omneo, 100)
        for channel in Channel:
            rows = [row for row in records if row.channel == channel]
            if not rows:
                continue
            # The last by the time of its event, and the last that was written.
            last = rows[0]
            newest = max(row.recorded_at or row.at for row in rows)
            written = [row for row in rows if (newest - (row.recorded_at or row.at)).total_seconds() <= APART]
            held = way_in_omneo(omneo["attributes"]["comms"], channel.value)
            said = {_AFTER.get(row.after, held) for row in (last, *written)}
            if held not in said and last.source != "omneo:profile.deleted":
                world.breaks(
                    f"law 5: the ledger ends with {last.after} ({last.source}) and Omneo has {person.name}'s {channel} {held}"
                )


def judge_rest(world: SimulatedWorld) -> None:
    """Law 5: nothing goes round for ever, and calls per act have a bound."""
    waiting = world.queue.waiting
    if waiting:
        kinds = sorted({str(json.loads(task.body)["kind"]) for task in waiting})
        world.breaks(f"law 5: jobs go round although all is quiet: {', '.join(kinds)}")
    plan = world.plan
    most = CALLS + CALLS_EACH * (len(plan.acts) + len(plan.people) + sum(world.faults.fired.values()))
    if len(world.calls) > most:
        world.breaks(f"law 5: {len(world.calls)} calls for {len(plan.acts)} acts")


def judge_desk(world: SimulatedWorld) -> None:
    """Law 4: each job without effect is a dead job with its reason; if every service answers in the end, there are no dead jobs."""
    shared = any(world.fired[f"act {name}"] for name in ("p.share email", "p.share phone", "k.stranger"))
    for dead in DeadJobStore(world.documents, bundle.keys()).page(TENANT):
        if shared and dead.reason.startswith("Another Klaviyo profile"):
            continue  # two have one address, which a person has to decide about
        world.breaks(f"law 4: a job is dead: {dead.kind}: {dead.reason}")


def judge_interactions(world: SimulatedWorld) -> None:
    """Law 4: every consent event that we took in has its one interaction."""
    rows = Counter(str(dict(row["meta"] or {}).get("event_id")) for row in world.omneo_tenant.interactions)
    for person in world.persons:
        if not person.is_living or person.was_deleted or person.merged_into:
            continue  # nobody is there to have an interaction
        acts: dict[tuple[str, float], list[str]] = {}
        for event, (topic, at) in person.events.items():
            if event in world.told and canonical(topic) in TABLE:
                acts.setdefault((canonical(topic), at), []).append(event)
        for (topic, at), events in acts.items():
            row = row_of(topic)
            way = {1: IN, -1: OUT}.get(row.signal, "")
            made = sum(rows[event] for event in events)
            # If a death has prevented a call, only its caller may know of it.
            is_near_a_death = any(abs(death - at) < _NEAR for death in world.deaths)
            is_confirmed = is_near_a_death or (
                world.plan.double_opt_in and way == IN
            )  # of our own asking, however long ago
            if not made and not is_confirmed and not person.is_ours_perhaps(row.channel.value, way, at):
                world.breaks(f"law 4: {topic} of {person.name} has no interaction")
            # The two topics of one act are told as one; two acts within a second are two.
            same_second = Counter(person.events[event][0] for event in events)
            if made > max(same_second.values()) and not world.faults.fired:
                world.breaks(f"law 4: {topic} of {person.name} has {made} interactions")


def judge_persons(world: SimulatedWorld) -> None:
    """Law 3: each living, not excluded Omneo profile is one Klaviyo profile, with its own data and no other's."""
    for person in world.persons:
        if world.omneo_profile(person) is None or person.is_excluded or not _is_reachable(person):
            continue
        holders = [
            row
            for row in world.account.profiles.values()
            if row.attributes.get("external_id") == person.omneo
        ]
        if len(holders) != 1:
            world.breaks(f"law 3: {person.name} is {len(holders)} profiles in Klaviyo")
            continue
        [held] = holders
        _judge_data(world, person, held)
        _judge_last_name(world, person, str(held.attributes.get("last_name") or ""))
        if is_address(person, "email") and not person.shares("email", world.everybody):
            email = str(held.attributes.get("email") or "")
            if email.casefold() != person.email.casefold():
                world.breaks(f"law 3: {person.name}'s profile has another email than {person.name}")
    for stranger in world.strangers:
        kept = world.account.profiles.get(stranger.klaviyo)
        if kept is None or kept.attributes.get("first_name") != f"Canary {stranger.name}":
            world.breaks(f"law 3: {stranger.name}, whom Omneo does not know, was overwritten")


def _judge_data(world: SimulatedWorld, person: Person, held: Profile) -> None:
    """Judge the titles of merged people: one has a title, the other has none, and in Omneo they are one person."""
    name = held.attributes.get("first_name")
    if name != f"Canary {person.name}":
        world.breaks(
            f"law 3: the profile of {person.name} has the data of {str(name).removeprefix('Canary ')}"
        )
    title = str(held.properties.get("omneo_title") or "").removeprefix("Canary ")
    if title and title not in {one.name for one in (person, *person.absorbed)}:
        world.breaks(f"law 3: the profile of {person.name} has the title of {title}")


def _judge_last_name(world: SimulatedWorld, person: Person, held: str) -> None:
    if not person.last_names or (person.absorbed and not person.last_names[-1]):
        return  # a name may come from a profile that was merged into this one
    if held != person.last_names[-1]:
        was = "had" if held in person.last_names else "never had"
        world.breaks(f"law 3: the profile of {person.name} has a last name that {person.name} {was}")


def _is_reachable(person: Person) -> bool:
    return is_address(person, "email") or is_address(person, "sms")


def judge_shop(world: SimulatedWorld) -> None:
    """Laws 4 and 6: each event once, on the right profile; one reward for each id and person; the last record last."""
    rewards = Counter(str(row["external_id"]) for row in world.omneo.rewards(TENANT))
    sent = {(event.metric, event.unique_id): event for event in world.account.events}
    for asked in world.asked:
        if not asked.taken:
            continue
        if asked.what == "reward" and rewards[asked.key] != 1:
            world.breaks(f"law 6: {asked.key} of {asked.person.name} is {rewards[asked.key]} rewards")
        if asked.what.startswith("event"):
            _judge_event(world, asked, sent)
    for id, count in rewards.items():
        if count > 1:
            world.breaks(f"law 6: {id} is {count} rewards")
    _judge_records(world)


def _judge_event(world: SimulatedWorld, asked: Asked, sent: Mapping[tuple[str, str], Event]) -> None:
    mine = [event for (metric, _), event in sent.items() if metric == f"canary-{asked.number}"]
    if not mine and asked.person.was_erased:
        return  # gone with the profile
    if len(mine) != 1:
        world.breaks(f"law 4: {asked.key} of {asked.person.name} is {len(mine)} events")
        return
    profile = world.klaviyo_profile(asked.person)
    if (
        asked.person.is_living
        and not asked.person.is_excluded
        and profile is not None
        and mine[0].profile_id != profile.id
    ):
        world.breaks(f"law 3: {asked.key} of {asked.person.name} is on another profile")


def _judge_records(world: SimulatedWorld) -> None:
    last = {asked.key: asked for asked in world.asked if asked.what == "record" and asked.taken}
    for key, asked in last.items():
        kept = [row.record for row in world.account.records if row.record.get("object") == key]
        calls = [one for one in world.asked if one.key == key and one.taken]
        if not kept:
            world.breaks(f"law 4: {key} has no record")
        elif kept[-1]["n"] != asked.number and calls[-1].is_in_order(
            calls, max(world.plan.skews) - min(world.plan.skews)
        ):
            world.breaks(f"law 6: {key} ends as record {kept[-1]['n']} of {[one.number for one in calls]}")
