"""Tenants: the configuration, the credentials and the Klaviyo connection of a retailer, and their store.

The store holds every secret encrypted (`sealing.py`); only this module asks for that.
"""

import re
import secrets as random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from shared.direction import Direction
from shared.errors import DocumentChangedError, DocumentMissingError, StoreUnavailableError
from shared.storage.documents import Document, Documents, Scalar, Value, each_document
from shared.storage.encryption import KeyRing
from shared.tenants.keys import id_of
from shared.tenants.sealing import Sealing
from shared.tenants.settings import TenantSettings

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
COLLECTION = "tenants"
WEBHOOK_SECRET_LENGTH = 16  # Klaviyo refuses shorter ones
STAGING = "-stg"  # the end of the name of a tenant's staging twin


class _Model(BaseModel):
    # Documents outlive deploys: a field of a newer revision is no error for an older one, which keeps the field when it writes the
    # other fields. No function builds a model before a call needs it.
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class StoredSecret(_Model):
    """One of a list of secrets, newest first. `id` names it in places that must not show the value."""

    id: str = Field(default_factory=lambda: random.token_hex(4))
    value: SecretStr
    created_at: AwareDatetime


def new_webhook_secret(now: datetime) -> StoredSecret:
    """Return a secret of 256 random bits."""
    return StoredSecret(value=SecretStr(random.token_urlsafe(32)), created_at=now)


class InstallationKey(_Model):
    """The hash of an installation key. `id` names it in places that must not show the hash."""

    hash: str
    created_at: AwareDatetime

    @property
    def id(self) -> str:
        """The name of the key."""
        return id_of(self.hash)


class Outage(_Model):
    """A time in which the Klaviyo account was disconnected. Waiting jobs do not age meanwhile."""

    began: AwareDatetime
    ended: AwareDatetime | None = None


class KlaviyoConnection(_Model):
    """The connected account and its tokens from Klaviyo's token endpoint."""

    access_token: SecretStr
    refresh_token: SecretStr
    expires_at: AwareDatetime
    scope: str = ""
    account_id: str = ""
    account_name: str = ""
    account_timezone: str = ""
    account_country: str = ""
    connected_at: AwareDatetime
    disconnected_reason: str = ""  # empty while connected

    @property
    def disconnected(self) -> bool:
        """Whether only a reinstall can make the tokens work again."""
        return bool(self.disconnected_reason)


class StepState(StrEnum):
    """The state of one part of the set-up."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class ProvisionStep(_Model):
    """One part of the set-up and its result. `reason` says plainly why it failed."""

    state: StepState = StepState.WAITING
    reason: str = ""


class Provisions(_Model):
    """The things that an install has made in Klaviyo, so that the next install finds them again.

    `steps` are by name: `webhook`, `data source TITLE`, `omneo webhook TRIGGER`. `remade_at` says when a data source that was deleted in
    Klaviyo was last made again, by its title.
    """

    webhook_id: str = ""
    data_sources: dict[str, str] = {}
    remade_at: dict[str, AwareDatetime] = {}
    steps: dict[str, ProvisionStep] = {}


class FormerAccount(_Model):
    """An account that another one has replaced. It stays here until our webhook and our grant are gone from it.

    `webhook_is_gone` is set before the grant is revoked, because nobody can look afterwards.
    """

    connection: KlaviyoConnection
    webhook_id: str = ""
    webhook_is_gone: bool = False


class Tenant(_Model):
    """A retailer, with everything that decides about the retailer's calls."""

    name: str
    created_at: AwareDatetime
    installation_keys: tuple[InstallationKey, ...]
    omneo_token: SecretStr
    omneo_signing_secrets: tuple[StoredSecret, ...]
    webhook_secrets: tuple[StoredSecret, ...]
    notify_secrets: tuple[StoredSecret, ...] = ()  # they sign the messages to settings.notify_url
    settings: TenantSettings
    klaviyo: KlaviyoConnection | None = None
    klaviyo_account_id: str = ""  # the account joined last; stays while disconnected
    provisions: Provisions = Provisions.model_construct()  # validated, it would build the models too
    former_accounts: tuple[FormerAccount, ...] = ()
    left_behind: tuple[
        str, ...
    ] = ()  # the things that an uninstall, or the leaving of an account, could not remove
    outages: tuple[Outage, ...] = ()
    heal_from: AwareDatetime | None = None  # the next heal reads back the consent events from this time on
    ledger_key: SecretStr | None = (
        None  # see consent/ledger.py; None in a tenant that is older than the ledger
    )
    erased_until: AwareDatetime | None = (
        None  # until then, the queue may bring jobs of an erased person: see erasures.py
    )

    @property
    def is_connected(self) -> bool:
        """Whether a Klaviyo account is connected with tokens that are not known to be refused."""
        return self.klaviyo is not None and not self.klaviyo.disconnected

    @property
    def setup_lease(self) -> str:
        """The name of the lease under which the set-up is changed."""
        return f"provision {self.name}"

    def queue_name(self, direction: Direction) -> str:
        """Return the Cloud Tasks queue id, as Omneo's queues page names it.

        >>> tenant = Tenant.model_construct(settings=TenantSettings(task_queue_name="acme-stg"))
        >>> tenant.queue_name(Direction.OUTBOUND)
        'acme-stg-klaviyo-outbound'
        """
        return f"{self.settings.task_queue_name}-{self.settings.namespace}-{direction}"

    def time_disconnected(self, since: datetime, now: datetime) -> timedelta:
        """Return for how long, between `since` and `now`, the Klaviyo account was disconnected."""
        total, counted_to = timedelta(), since
        for outage in sorted(self.outages, key=lambda outage: outage.began):
            began, ended = max(outage.began, counted_to), min(outage.ended or now, now)
            if began < ended:
                total, counted_to = total + (ended - began), ended
        return total


def is_staging(name: str) -> bool:
    """Return whether a tenant is the staging twin of another. Its name, which Omneo gives, shows it.

    >>> is_staging("acme-stg"), is_staging("acme"), is_staging("-stg")
    (True, False, False)
    """
    return bool(name.removesuffix(STAGING)) and name.endswith(STAGING)


def production_of(name: str) -> str:
    """Return the name of the production tenant of a staging twin, "" if the tenant is no twin.

    >>> production_of("acme-stg"), production_of("acme")
    ('acme', '')
    """
    return name.removesuffix(STAGING) if is_staging(name) else ""


def is_tenant_name(text: str) -> bool:
    """Return whether `text` can be a tenant: it goes into host names and queue names, so nothing else may pass.

    >>> is_tenant_name("acme-stg"), is_tenant_name("acme.evil"), is_tenant_name("-acme")
    (True, False, False)
    """
    return NAME.fullmatch(text) is not None


class TenantStore:
    """Tenants in a document store."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._keys = keys

    def find(self, name: str) -> Tenant | None:
        """Return the tenant, None when there is none.

        Raises:
            StoreUnavailableError: the store cannot answer, which is not the same as "no such tenant".
            UndecryptableError: a secret of this tenant cannot be read with the keys at hand.
        """
        document = self._documents.get(COLLECTION, name)
        return None if document is None else self._decode(document)

    def create(self, tenant: Tenant) -> None:
        """Store a new tenant.

        Raises:
            DocumentExistsError: the name is taken.
        """
        self._documents.create(COLLECTION, tenant.name, self._encode(tenant, set(Tenant.model_fields)))

    def change(self, name: str, edit: Callable[[Tenant], Tenant]) -> Tenant:
        """Store what `edit` makes of the tenant, and return that.

        Only changed fields are written, and only if nobody else has written in between. Otherwise `edit` is called again with the new
        state, so `edit` must be repeatable.

        Raises:
            DocumentMissingError: there is no such tenant.
        """
        for _ in range(20):
            document = self._documents.get(COLLECTION, name)
            if document is None:
                raise DocumentMissingError("no such tenant")
            before = self._decode(document)
            after = edit(before)
            changed = {
                field for field in Tenant.model_fields if getattr(before, field) != getattr(after, field)
            }
            if not changed:
                return after
            try:
                self._documents.update(
                    COLLECTION, name, self._encode(after, changed), version=document.version
                )
            except DocumentChangedError:
                continue
            return after
        raise StoreUnavailableError("the tenant is being changed too often to be written")

    def delete(self, name: str) -> None:
        """Forget the tenant. Each store below it has deleted its own documents before."""
        self._documents.delete(COLLECTION, name)

    def holding(self, account_id: str) -> list[str]:
        """Return the names of the tenants that are joined to a Klaviyo account, in order."""
        return [document.id for document in self._all({"klaviyo_account_id": account_id})]

    def of_unknown_account(self) -> list[str]:
        """Return the names of the tenants with tokens of an unknown account."""
        unknown = self._all({"klaviyo_account_id": ""})
        return [document.id for document in unknown if document.fields.get("klaviyo") is not None]

    def sharing_queues(self, tenant: Tenant) -> str:
        """Return the name of another tenant whose queues have the same names, "" if there is none.

        Two tenants on one queue would purge, pause and slow each other.
        """
        for name in self.names():
            other = self.find(name) if name != tenant.name else None
            if other and other.queue_name(Direction.OUTBOUND) == tenant.queue_name(Direction.OUTBOUND):
                return name
        return ""

    def names(self) -> Iterator[str]:
        """Yield every tenant's name, in order."""
        return (document.id for document in self._all())

    def _all(self, where: Mapping[str, Scalar] | None = None) -> Iterator[Document]:
        return each_document(self._documents, COLLECTION, where=where)

    def reencrypt(self, name: str, *, dry_run: bool = False) -> int:
        """Seal with the first key every secret of the tenant that an older key sealed; return how many there were.

        If somebody else changes a secret meanwhile, it is read again, so no newer value is overwritten.
        """
        for _ in range(20):
            document = self._documents.get(COLLECTION, name)
            if document is None:
                return 0
            sealing = Sealing(self._keys, name)
            stale = {
                field: count for field, value in document.fields.items() if (count := sealing.stale(value))
            }
            due = sum(stale.values())
            if dry_run or not due:
                return due
            renewed = {field: sealing.renewed(field, document.fields[field]) for field in stale}
            try:
                self._documents.update(COLLECTION, name, renewed, version=document.version)
            except DocumentChangedError:
                continue
            return due
        raise StoreUnavailableError("the tenant is being changed too often to be written")

    def _encode(self, tenant: Tenant, fields: set[str]) -> dict[str, Value]:
        plain = tenant.model_dump(mode="python", include=fields)
        sealing = Sealing(self._keys, tenant.name)
        return {name: sealing.seal(name, value) for name, value in plain.items()}

    def _decode(self, document: Document) -> Tenant:
        sealing = Sealing(self._keys, document.id)
        plain = {name: sealing.open(name, value) for name, value in document.fields.items()}
        return Tenant.model_validate(plain)
