"""`erase NAME`: erase a person. The person comes from standard input or a prompt: an argument could be read by other users of the machine."""

from typing import Any

import click

from deploy.tenants.running import Command, confirmed, existing, found, given, with_services
from deploy.tenants.tables import json_option, show_json
from shared.audit import OPERATOR, Act, Audit
from shared.services import Services
from shared.settings import Needs


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--klaviyo", is_flag=True, help="Also ask Klaviyo to delete the person.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_services(Needs.STORE | Needs.KLAVIYO_APP)
def erase(services: Services, name: str, klaviyo: bool, yes: bool, as_json: bool) -> None:
    """Erase a person of tenant NAME: all data about the person here, and in Klaviyo if asked.

    The person is read from standard input, or prompted for on a terminal: an Omneo profile's id, or an email address. It cannot be undone:
    without a terminal it needs --yes.
    """
    from shared.erasure.erase import erase as erased

    tenant, who = found(services, name), given("Omneo profile id, or email address")
    confirmed("Erase this person for good?", yes=yes)
    receipt = erased(tenant, who, services, in_klaviyo=klaviyo)
    Audit.of(services).note(name, Act.ERASED, by=OPERATOR)
    if as_json:
        show_json(receipt)
    else:
        click.echo("\n".join(_as_text(receipt)))


def _as_text(receipt: dict[str, Any]) -> list[str]:
    lines = [f"Erased at {receipt['erased_at']}."]
    lines += [f"  {name}: {count}" for name, count in receipt["removed"].items()]
    lines.append(f"Profiles that Klaviyo is asked to delete: {receipt['asked_of_klaviyo']}")
    if receipt["lives_in_omneo"]:
        lines.append("Omneo still has the profile: its next change is synced as that of a new person.")
    return [*lines, "What stays, and why:", *(f"  {reason}" for reason in receipt["stays"])]
