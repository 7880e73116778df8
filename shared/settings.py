"""The environment's variables, read once and checked together.

This module is a pure function of a mapping; services.py reads `os.environ`. All problems are collected, so that an operator sees them in one
message, each under the name of its variable. Values are never repeated.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Flag, auto
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.errors import ConfigurationError

DEFAULT_TASKS_EMULATOR = "127.0.0.1:8123"

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")

T = TypeVar("T")


class Needs(Flag):
    """The parts that a process uses; they decide which variables it needs. A function holds no secret that it does not use."""

    STORE = auto()
    QUEUES = auto()  # make, pause and purge queues
    OUTBOUND = auto()  # put tasks on the queues from Omneo to Klaviyo
    INBOUND = auto()  # put tasks on the queues from Klaviyo to Omneo
    KLAVIYO_APP = auto()
    PUBLIC_URL = auto()  # our own address for Klaviyo, Omneo and browsers


TASKS = Needs.INBOUND | Needs.OUTBOUND


@dataclass(frozen=True)
class StoreSettings:
    """The store of documents: `sqlite_path`, or Firestore in `project` when it is empty."""

    sqlite_path: str
    project: str
    keys: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class QueueSettings:
    """The queue of tasks. `emulator` is host:port of the local emulator, empty for Google's service."""

    emulator: str
    project: str
    region: str
    service_account: str
    inbound_worker_url: str
    outbound_worker_url: str


@dataclass(frozen=True)
class Settings:
    """Everything that the environment decides. A part that the process does not use is None."""

    klaviyo_api_url: str
    klaviyo_authorize_url: str
    klaviyo_revision: str
    omneo_api_url: str
    omneo_manager_url: str
    app_publisher: str
    help_url: str
    privacy_url: str  # empty: the pages show no link
    limits_addresses: bool  # whether the load balancer limits the calls of each address
    extension_url: str | None
    project: str
    klaviyo_client_id: str | None
    klaviyo_client_secret: SecretStr | None
    store: StoreSettings | None
    queue: QueueSettings | None

    @property
    def public_url(self) -> str:
        """Our own address, only in a process that was started with `Needs.PUBLIC_URL`."""
        if self.extension_url is None:
            raise ConfigurationError("this function was started without EXTENSION_URL")
        return self.extension_url

    @property
    def public_origin(self) -> str:
        """The origin of our own pages as browsers send it: scheme, host, and a port that is not the scheme's own."""
        parts = urlsplit(self.public_url)
        default = {"https": 443, "http": 80}[parts.scheme]
        port = "" if parts.port in (None, default) else f":{parts.port}"
        return f"{parts.scheme}://{parts.hostname}{port}"

    @classmethod
    def from_env(cls, env: Mapping[str, str], needs: Needs) -> "Settings":
        """Read the variables.

        Raises:
            ConfigurationError: lists every missing or malformed variable by name.
        """
        read = _Reader(env)
        app = Needs.KLAVIYO_APP in needs
        settings = cls(
            klaviyo_api_url=read.url("KLAVIYO_API_URL", "https://a.klaviyo.com"),
            klaviyo_authorize_url=read.url(
                "KLAVIYO_AUTHORIZE_URL", "https://www.klaviyo.com/oauth/authorize"
            ),
            klaviyo_revision=read("KLAVIYO_REVISION", as_revision, "2026-10-15"),
            omneo_api_url=read("OMNEO_API_URL", _omneo_template, "https://api.{tenant}.getomneo.com"),
            omneo_manager_url=read(
                "OMNEO_MANAGER_URL", _omneo_template, "https://{tenant}.manager.getomneo.com"
            ),
            app_publisher=read.text("APP_PUBLISHER", "Omneo"),
            help_url=read.url("HELP_URL", "https://docs.omneo.io/extensions/klaviyo/installation"),
            privacy_url=read("PRIVACY_URL", _url_or_none, ""),
            limits_addresses=read("ADDRESS_LIMITS", _on_or_none, "on"),
            extension_url=read.url("EXTENSION_URL") if Needs.PUBLIC_URL in needs else None,
            project=read.text("GOOGLE_CLOUD_PROJECT", ""),
            klaviyo_client_id=read.text("KLAVIYO_CLIENT_ID") if app else None,
            klaviyo_client_secret=SecretStr(read.text("KLAVIYO_CLIENT_SECRET")) if app else None,
            store=_store(read) if Needs.STORE in needs else None,
            queue=_queue(read, needs) if needs & (Needs.QUEUES | TASKS) else None,
        )
        read.finish()
        return settings


class _Reader:
    """Reads variables one by one and collects their faults."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._problems: dict[str, str] = {}

    def __call__(self, name: str, convert: Callable[[str], T], default: str | None = None) -> T:
        text = self._env.get(name, "").strip()
        if not text and default is None:
            self._problems[name] = "is not set"
        elif text:
            try:
                return convert(text)
            except ValueError as error:
                self._problems[name] = str(error)
        return convert(default) if default is not None else _Placeholder()  # type: ignore[return-value]  # `finish` raises

    def text(self, name: str, default: str | None = None) -> str:
        return self(name, str, default)

    def url(self, name: str, default: str | None = None) -> str:
        return self(name, _url, default)

    def finish(self) -> None:
        if self._problems:
            lines = [f"  {name} {problem}" for name, problem in sorted(self._problems.items())]
            raise ConfigurationError("The environment needs attention:\n" + "\n".join(lines))


class _Placeholder(str):
    """The place of a missing value until `finish` reports it."""

    __slots__ = ()


def _store(read: _Reader) -> StoreSettings:
    path = read("STORE", _sqlite_path, "firestore")
    return StoreSettings(
        sqlite_path=path,
        project=read.text("GOOGLE_CLOUD_PROJECT", None if path == "" else "local"),
        keys=read("ENCRYPTION_KEYS", encryption_keys),
    )


def _queue(read: _Reader, needs: Needs) -> QueueSettings:
    local = read("QUEUE", _queue_kind, "cloud-tasks") == "local"
    return QueueSettings(
        emulator=read("CLOUD_TASKS_EMULATOR_HOST", _host_and_port, DEFAULT_TASKS_EMULATOR) if local else "",
        project=read.text("GOOGLE_CLOUD_PROJECT", "local" if local else None),
        region=read.text("GOOGLE_CLOUD_REGION", "local" if local else None),
        service_account=read.text(
            "TASKS_SERVICE_ACCOUNT", None if needs & TASKS and not local else "tasks@local.invalid"
        ),
        inbound_worker_url=read.url("INBOUND_WORKER_URL") if Needs.INBOUND in needs else "",
        outbound_worker_url=read.url("OUTBOUND_WORKER_URL") if Needs.OUTBOUND in needs else "",
    )


def encryption_keys(text: str) -> Mapping[str, bytes]:
    """Read `id:key,id:key`, each key base64 of 32 bytes, in the order in which they stand.

    Raises:
        ValueError: the message says what is wrong, without any part of a key.
    """
    keys: dict[str, bytes] = {}
    for number, pair in enumerate(text.split(","), 1):
        id, colon, encoded = pair.strip().partition(":")
        if not colon or not _KEY_ID.fullmatch(id):
            raise ValueError(f"pair {number} is not of the form id:key (id: letters, digits, - and _)")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"the key of pair {number} is not base64") from None
        if len(key) != 32:
            raise ValueError(f"the key of pair {number} is {len(key)} bytes long; 32 are needed")
        if id in keys:
            raise ValueError(f"pair {number} repeats the id of an earlier pair")
        keys[id] = key
    return keys


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text would show the host or port
        usable = False
    # urlsplit drops line breaks and accepts blanks; a request does not.
    if not usable or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be a URL that starts with https:// (or http:// on one machine)")
    if "?" in text or "#" in text:
        raise ValueError("must be a URL without a query or fragment")
    if "@" in parts.netloc:
        raise ValueError("must be a URL without a user name or password")
    return text.rstrip("/")


def _url_or_none(text: str) -> str:
    return _url(text) if text else ""


def _omneo_template(text: str) -> str:
    if text.count("{tenant}") != 1 or re.search("[{}]", text.replace("{tenant}", "")):
        raise ValueError("must hold {tenant} once, as in https://api.{tenant}.getomneo.com")
    return _url(text)


def as_revision(text: str) -> str:
    """Return the name of a revision of Klaviyo's API: a date, with `.pre` at its end for a pre-release.

    Raises:
        ValueError: the text is no revision.
    """
    day = text.removesuffix(".pre")
    try:
        canonical = date.fromisoformat(day).isoformat()
    except ValueError:
        canonical = ""
    if day != canonical:  # 20261015 and 2026-W42-4 are ISO dates too
        raise ValueError("must be a Klaviyo revision, as in 2026-10-15")
    return text


def _sqlite_path(text: str) -> str:
    if text == "firestore":
        return ""
    kind, _, path = text.partition(":")
    if kind != "sqlite" or not path:
        raise ValueError("must be firestore or sqlite:PATH")
    return path


def _on_or_none(text: str) -> bool:
    if text not in {"on", "none"}:
        raise ValueError("must be on or none")
    return text == "on"


def _queue_kind(text: str) -> str:
    if text not in {"cloud-tasks", "local"}:
        raise ValueError("must be cloud-tasks or local")
    return text


def _host_and_port(text: str) -> str:
    match = re.fullmatch(r"(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(f"must be a loopback host and port, as in {DEFAULT_TASKS_EMULATOR}")
    return text
