"""A sandbox is kept whole, and goes on where it stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import kept_sandbox
from deploy.local.kept_sandbox import CannotRestoreError, Keeper, restore, save
from deploy.local.sandbox import Sandbox
from tests.deploy.local.test_processes import until

EMAIL = "canary-jane@example.org"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token_prefix="canary") as sandbox:
        sandbox.klaviyo.account("AcmeAc", organization_name="Acme")
        sandbox.klaviyo.profile("AcmeAc", email=EMAIL)
        sandbox.omneo.tenant("acme")
        sandbox.omneo.profile("acme", email=EMAIL)
        template = {"email": "{{ profile.email }}"}
        sandbox.omneo.target("acme", handle="klaviyo", url="http://127.0.0.1:9/", template=template)
        sandbox.omneo.reaction("acme", "reward.created", "klaviyo")
        yield sandbox


def test_what_a_sandbox_holds_is_there_again(sandbox: Sandbox, tmp_path: Path) -> None:
    tokens = sandbox.klaviyo.install("AcmeAc")
    (before,) = sandbox.klaviyo.profiles("AcmeAc")
    sandbox.klaviyo.subscribe("AcmeAc", before.id)
    sandbox.klaviyo.auto_deliver = 60.0
    save(sandbox, tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    again = Sandbox()
    restore(tmp_path / "kept", again)
    with again:
        assert again.klaviyo.profiles("AcmeAc") == sandbox.klaviyo.profiles("AcmeAc")
        assert again.omneo.profiles("acme") == sandbox.omneo.profiles("acme")
        assert again.klaviyo.oauth.holder(tokens.access_token) is not None
        assert again.klaviyo.auto_deliver is None
        (delivery,) = again.omneo.fire("acme", "reward.created", {"profile": {"email": EMAIL}})
        assert delivery.error == "ConnectionError"
        again.klaviyo.profile("AcmeAc", email="canary-new@example.org")
        assert len(again.klaviyo.profiles("AcmeAc")) == 2


def test_it_is_kept_now_and_then_and_at_the_end(sandbox: Sandbox, tmp_path: Path) -> None:
    def kept() -> int:
        again = Sandbox()
        restore(tmp_path / "kept", again)
        return len(again.klaviyo.profiles("AcmeAc"))

    keeper = Keeper(sandbox, tmp_path / "kept", every=0.05)
    keeper.start()
    assert kept() == 1
    sandbox.klaviyo.profile("AcmeAc", email="canary-two@example.org")
    until(lambda: kept() == 2)
    sandbox.klaviyo.profile("AcmeAc", email="canary-three@example.org")
    keeper.stop()
    assert kept() == 3


def test_nothing_is_restored_where_nothing_was_kept_or_the_source_is_another(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotRestoreError, match="nothing was kept"):
        restore(tmp_path / "kept", Sandbox())
    save(sandbox, tmp_path / "kept")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/new.py").write_text("")
    monkeypatch.setattr(kept_sandbox, "_SOURCE", tmp_path / "source")
    with pytest.raises(CannotRestoreError, match="source has changed"):
        restore(tmp_path / "kept", Sandbox())
