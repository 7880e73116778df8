"""An installed app that calls the sandbox's Klaviyo, and a customer in its account."""

import pytest

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo.accounts import Profile
from tests.deploy.local.sandbox.klaviyo.calls import ACCOUNT, JANE, JANES_PHONE, Caller


@pytest.fixture
def call(sandbox: Sandbox) -> Caller:
    return Caller(sandbox)


@pytest.fixture
def jane(sandbox: Sandbox) -> Profile:
    return sandbox.klaviyo.profile(ACCOUNT, email=JANE, phone_number=JANES_PHONE)
