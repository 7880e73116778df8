"""Which profiles of the two sides are one person, and what is shown of each."""

import pytest

from deploy.local.console.pairing import in_klaviyo, klaviyo_side, omneo_side
from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile

EMAIL = "canary-jane@example.org"


@pytest.fixture
def sandbox() -> Sandbox:
    """Return a sandbox with a tenant and an account, which nobody calls."""
    sandbox = Sandbox(seed=1)
    sandbox.omneo.tenant("acme")
    sandbox.klaviyo.account("AcmeAc")
    return sandbox


def shown(profile: Profile) -> dict[str, object]:
    """Return a profile as the control shows it."""
    return {
        "id": profile.id,
        "attributes": profile.attributes,
        "properties": profile.properties,
        "subscriptions": profile.subscriptions.to_json(),
    }


def test_the_id_that_omneo_holds_goes_before_omneos_id_in_klaviyo_and_that_before_the_email(
    sandbox: Sandbox,
) -> None:
    person = sandbox.omneo.profile("acme", email=EMAIL.upper())
    by_email = shown(sandbox.klaviyo.profile("AcmeAc", email=EMAIL))
    by_external = shown(sandbox.klaviyo.profile("AcmeAc", external_id=person["id"]))
    held = shown(sandbox.klaviyo.profile("AcmeAc", email="canary-other@example.org"))
    assert in_klaviyo(person, [by_email]) == by_email
    assert in_klaviyo(person, [by_email, by_external]) == by_external
    person["identities"] = [{"handle": "klaviyo", "identifier": held["id"]}]
    assert in_klaviyo(person, [by_email, by_external, held]) == held
    assert in_klaviyo(person | {"email": None, "identities": []}, [by_email]) is None
    assert in_klaviyo(person, []) is None


def test_each_side_tells_what_it_knows_and_nothing_that_is_empty(sandbox: Sandbox) -> None:
    person = sandbox.omneo.profile(
        "acme", email=EMAIL, attributes={"comms": {"email_promo": True, "sms_optout": 1}}
    )
    told = dict(omneo_side(person))
    assert told["Email"] == EMAIL
    assert told["Email consent"] == "promo yes, optout unset, bounced unset"
    assert "Mobile" not in told
    other = sandbox.klaviyo.profile("AcmeAc", email=EMAIL, first_name="Jane", properties={"tier": "gold"})
    sandbox.klaviyo.mark_as_spam("AcmeAc", other.id)
    other_told = dict(klaviyo_side(shown(other)))
    assert (other_told["First name"], other_told["tier"]) == ("Jane", "gold")
    assert other_told["Email suppressed"] == "SPAM_COMPLAINT"
    assert "Phone number" not in other_told
