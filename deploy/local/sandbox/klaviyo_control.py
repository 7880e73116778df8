"""What Klaviyo alone can be told below `/_sandbox`.

POST `seed` `{"installs": [{account, ...}], "profiles": [{account, ...}]}` returns the tokens; POST `app` `{client_id,
client_secret}`; POST `switches` with any of the switches of `OAuth`; POST `revoke` `{refresh_token}`, `expire`
`{access_token}`, `uninstall` `{account}`; GET `events?account=` and `profiles?account=`.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deploy.local.sandbox.control import perform
from deploy.local.sandbox.messages import Answer, Request

if TYPE_CHECKING:
    from deploy.local.sandbox.klaviyo import Klaviyo

_SWITCHES = frozenset({"access_token_seconds", "refreshes_per_minute", "rotates", "docs_spelling"})
_APP = frozenset({"client_id", "client_secret"})


def control(klaviyo: "Klaviyo", request: Request) -> Answer:
    """Answer a call below `/_sandbox` on Klaviyo's port."""

    def seed(fields: dict[str, Any]) -> object:
        for profile in fields.get("profiles", ()):
            klaviyo.profile(**profile)
        return {"installs": [asdict(klaviyo.install(**install)) for install in fields.get("installs", ())]}

    def write(allowed: frozenset[str], fields: dict[str, Any]) -> None:
        if unknown := set(fields) - allowed:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        for name, value in fields.items():
            setattr(klaviyo.oauth, name, value)

    def events(fields: dict[str, Any]) -> object:
        rows = [asdict(event) for event in klaviyo.events(fields["account"])]
        return {"events": [{name: row[name] for name in row if name != "sent"} for row in rows]}

    return perform(
        klaviyo,
        request,
        {
            ("POST", "seed"): seed,
            ("POST", "app"): lambda fields: write(_APP, fields),
            ("POST", "switches"): lambda fields: write(_SWITCHES, fields),
            ("POST", "revoke"): lambda fields: klaviyo.revoke(fields["refresh_token"]),
            ("POST", "expire"): lambda fields: klaviyo.expire(fields["access_token"]),
            ("POST", "uninstall"): lambda fields: klaviyo.uninstall(fields["account"]),
            ("GET", "events"): events,
            ("GET", "profiles"): lambda fields: {
                "profiles": [asdict(profile) for profile in klaviyo.profiles(fields["account"])]
            },
        },
    )
