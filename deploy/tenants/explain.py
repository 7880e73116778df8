"""`explain NAME [PROFILE]`: what a sync of one profile would do and why, as text that a person reads or as JSON. Nothing is sent."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from deploy.tenants.running import Command, existing, found, given, with_services
from deploy.tenants.tables import json_option, show_json
from shared.audit import OPERATOR, Act, Audit
from shared.consent.rules.decisions import read_stamp
from shared.services import Services
from shared.settings import Needs

Json = Any
_FLAGS = {True: "yes", False: "no", None: "unset"}


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.argument("profile", required=False)
@click.option("--reveal", is_flag=True, help="Show personal values, which are masked otherwise.")
@json_option
@with_services(Needs.STORE | Needs.KLAVIYO_APP)
def explain(services: Services, name: str, profile: str | None, reveal: bool, as_json: bool) -> None:
    """Say what a sync of PROFILE of tenant NAME would do, and why. Nothing is sent.

    PROFILE is the id of an Omneo profile. Without it, the command asks for an id or an email address, or reads it from standard input,
    because other users can see arguments.
    """
    from shared.explain.explain import explain as explained
    from shared.explain.explain import profile_id_of

    if profile and "@" in profile:
        raise click.UsageError("A customer's address is no argument. Leave it out: it is asked for.")
    tenant = found(services, name)
    named = profile or given("Email address, or id, of the profile")
    told = explained(tenant, profile_id_of(tenant, named, services), services, reveal=reveal)
    if reveal:
        click.echo("Personal values are shown.", err=True)
        Audit.of(services).note(name, Act.REVEALED, by=OPERATOR, about="explain of a profile")
    if as_json:
        show_json(told)
    else:
        click.echo("\n".join(as_text(told)))


def as_text(told: Mapping[str, Json]) -> Iterator[str]:
    """Yield the lines of an explanation."""
    values = "shown" if told["revealed"] else "masked; --reveal shows them"
    matched, before = told["matched"], told["synced_before"]
    yield from _table(
        [
            ("Profile", f"{told['profile_id']} (personal values are {values})"),
            ("Matched", f"{matched['klaviyo_id'] or 'new'}: {matched['why']}"),
            ("Last sync", _last_sync(before)),
            ("Excluded", told["excluded"]["why"] or "No."),
        ],
        indent=0,
    )
    yield from _part("Exclude logic", map(_step, told["excluded"]["trace"]))
    if told["would_send"] is None:
        yield from ("", "Nothing would be sent.")
    else:
        yield from _part("Would send", _table(_values(told["would_send"])))
    yield from _part("Notes", _table((note["name"], note["why"]) for note in told["notes"]))
    yield from _part("Consent", (line for row in told["consent"] for line in _consent(row)))
    yield from _part("Open jobs", _table((job["kind"], _job(job)) for job in told["open_jobs"]))
    yield from _part("Jobs", map(_receipt, told["events"]))
    yield from _part("Rewards, newest first", map(_reward, told["rewards"]))
    yield from _part("Consent ledger, newest first", map(_record, told["ledger"]))


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from ("", title, *found)


def _table(rows: Iterable[tuple[str, str]], *, indent: int = 2) -> Iterator[str]:
    """Yield the rows with their second column aligned."""
    found = [(_plain(name), value) for name, value in rows]
    width = max((len(name) for name, _ in found), default=0)
    return (f"{' ' * indent}{name:<{width}}  {_plain(value)}" for name, value in found)


def _values(resource: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    if resource.get("id"):
        yield "id", str(resource["id"])
    for name, value in resource["attributes"].items():
        if name in ("location", "properties"):
            yield from ((f"{name}.{key}", _shown(item)) for key, item in value.items())
        else:
            yield name, _shown(value)
    for name in ((resource.get("meta") or {}).get("patch_properties") or {}).get("unset", ()):
        yield f"properties.{name}", "is removed"


def _consent(row: Mapping[str, Json]) -> Iterator[str]:
    omneo, klaviyo = row["omneo"], row["klaviyo"]
    address = f" ({row['address']})" if row["address"] else ""
    yield f"  {row['consent']}{_plain(address)}: {row['why']}"
    flags = ", ".join(f"{name} {_flag(omneo[name])}" for name in ("promo", "optout", "bounced"))
    lines = [
        ("Omneo", f"{flags}, decided {_date(omneo['updated_at'])}"),
        ("Klaviyo", f"{klaviyo['consent'] or 'no consent'}, decided {_date(klaviyo['consented_at'])}"),
    ]
    lines += [("", f"suppressed {_date(it['at'])}: {it['reason']}") for it in klaviyo["suppressions"]]
    if asked := row["asked_before"]:
        word = "subscribe" if asked["direction"] == "in" else "unsubscribe"
        lines.append(("Asked", f"to {word}, {_date(asked['at'])}"))
    yield from _table(lines, indent=4)


def _last_sync(before: Mapping[str, Json] | None) -> str:
    if before is None:
        return "Never."
    account = "" if before["same_account"] else ", in another account"
    return f"{_date(before['read_at'])}, Klaviyo profile {before['klaviyo_id']}{account}"


def _step(step: Mapping[str, Json]) -> str:
    if step["error"]:
        return _plain(f"  {step['path'] or 'all'}: {step['error']}")
    return _plain(f"  {step['path']}: {_shown(step['expression'])} gives {_shown(step['value'])}")


def _job(job: Mapping[str, Json]) -> str:
    return f"{job['state']} since {_date(job['at'])}: {job['why']}"


def _receipt(receipt: Mapping[str, Json]) -> str:
    about = " ".join(filter(None, (receipt["kind"], receipt["metric"])))
    why = f": {receipt['why']}" if receipt["why"] else ""
    return _plain(f"  {_date(receipt['at'])}  {about}  {receipt['state']}{why}")


def _reward(reward: Mapping[str, Json]) -> str:
    return _plain(f"  {_date(reward['at'])}  reward {reward['reward_id']}")


def _record(record: Mapping[str, Json]) -> str:
    change = f"{record['before']} to {record['after']}"
    return _plain(f"  {_date(record['at'])}  {record['channel']:<5}  {change}, by {record['source']}")


def _flag(value: Json) -> str:
    known = {"1": True, "true": True, "0": False, "false": False}.get(str(value).lower(), value)
    return _FLAGS.get(known, str(value))


def _date(value: Json) -> str:
    time = read_stamp(value)
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "at no known time"


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    """Return the text without the characters that a terminal would read as its own commands."""
    return "".join(character if character.isprintable() else "?" for character in text)
