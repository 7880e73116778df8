"""The restore of deploy/README.md, practised on the emulator: what was exported comes back, and can be read with the same keys."""

import json
import urllib.request
from pathlib import Path

import pytest

from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from tests.support import firestore_emulator
from tests.support.world import TENANT, a_tenant

pytestmark = pytest.mark.deploy

PROJECT = "demo-restore"


def services_on(host: str, keys: str, patched: pytest.MonkeyPatch) -> Services:
    patched.setenv("FIRESTORE_EMULATOR_HOST", host)
    given = {"STORE": "firestore", "GOOGLE_CLOUD_PROJECT": PROJECT, "ENCRYPTION_KEYS": keys}
    return Services(Settings.from_env(given, Needs.STORE))


def export(host: str, folder: Path) -> Path:
    """Export the database as the emulator does it; return what an import is given."""
    asked = {
        "database": f"projects/{PROJECT}/databases/(default)",
        "export_directory": str(folder),
        "export_name": "then",
    }
    request = urllib.request.Request(
        f"http://{host}/emulator/v1/projects/{PROJECT}:export",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    return folder / "then/then.overall_export_metadata"


def test_what_was_exported_is_restored_and_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = f"k1:{new_key()}"
    with firestore_emulator.running(tmp_path / "before.log") as emulator:
        before = services_on(emulator.host, keys, monkeypatch)
        tenant = a_tenant(TENANT, before.clock())
        before.tenants.create(tenant)
        exported = export(emulator.host, tmp_path)
        before.tenants.delete(TENANT)
    with firestore_emulator.running(tmp_path / "after.log", f"--import-data={exported}") as emulator:
        after = services_on(emulator.host, keys, monkeypatch)
        assert after.tenants.find(TENANT) == tenant
