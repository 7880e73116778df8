"""What tests call by its name: its value stands here once more, so that no test compares a constant with itself alone."""

from datetime import timedelta
from importlib import import_module

import pytest

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 24 * 3600))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shared.admin.reports.RECENT", MINUTE),
        ("shared.admin.status.LEASE", 90 * SECOND),
        ("shared.admin.status.PATIENCE_SECONDS", 20.0),
        ("shared.consent.heal.OVERLAP", 3 * DAY),
        ("shared.consent.inbox.REMEMBERED", 30 * DAY),
        ("shared.consent.ledger.KEPT", 1096 * DAY),
        ("shared.consent.rules.calls.MOST_CALLS", 12),
        ("shared.consent.rules.learning.MOST_EVENTS", 40),
        ("shared.consent.rules.memory.LANDING", 3 * MINUTE),
        ("shared.consent.to_omneo.TRACE", MINUTE),
        ("shared.consent.to_omneo.TURN", 5 * MINUTE),
        ("shared.installation.links.COLLECTION", "used_links"),
        ("shared.installation.links.LIFE", HOUR),
        ("shared.installation.pending.COLLECTION", "pending_installs"),
        ("shared.installation.pending.LIFE", 15 * MINUTE),
        ("shared.installation.pending.WATCHED", HOUR),
        ("shared.installation.provision.LEASE", 5 * MINUTE),
        ("shared.installation.uninstall.LEASE", MINUTE),
        ("shared.jobs.jobs.TASK_BYTES", 900_000),
        ("shared.jobs.rules.windows.LENGTH", 10 * SECOND),
        ("shared.jobs.rules.windows.SETTLE", 2 * SECOND),
        ("shared.klaviyo.tokens.LEASE", 2 * MINUTE),
        ("shared.klaviyo.tokens.REFRESH_AHEAD", 5 * MINUTE),
        ("shared.klaviyo.tokens.RETRY_SECONDS", 5.0),
        ("shared.klaviyo.tokens.SECOND_LOOK_SECONDS", 30.0),
        ("shared.profiles.deleted.OMNEO_LAGS", 10 * SECOND),
        ("shared.profiles.making_room.PATIENCE", 15 * MINUTE),
        ("shared.profiles.synced.DELETED_KEPT", 400 * DAY),
        ("shared.records.packing.LEASE", 5 * MINUTE),
        ("shared.records.packing.SWEPT_AFTER", 2 * MINUTE),
        ("shared.records.rules.record.BULK_BYTES", 4_000_000),
        ("shared.records.rules.record.MOST_RECORDS", 500),
        ("shared.records.rules.record.PARCEL_BYTES", 700_000),
        ("shared.records.rules.record.RECORD_BYTES", 524_288),
        ("shared.records.rules.record.RECORD_ID", "omneo_record_id"),
        ("shared.resync.rules.packing.MOST_BYTES", 5_000_000),
        ("shared.resync.rules.packing.MOST_PROFILES", 10_000),
        ("shared.rewards.attempts.KEPT", 25 * HOUR),
        ("shared.rewards.attempts.LIVE", 12 * SECOND),
        ("shared.rewards.claims.KEPT", 400 * DAY),
        ("shared.rewards.claims.LIFE", 90 * SECOND),
        ("shared.rewards.counts.SHARDS", 8),
        ("shared.rewards.definitions.KEPT", 5 * MINUTE),
        ("shared.rewards.rewards.ANSWER_WITHIN", 9.0),
        ("shared.rewards.rewards.POLL_SECONDS", 3.0),
        ("shared.rewards.rules.reward.LARGEST_AMOUNT", 1_000_000),
        ("shared.rewards.rules.reward.META_KEY", "klaviyo_reward_key"),
        ("shared.storage.leases.COLLECTION", "leases"),
        ("shared.tenants.cache.SECONDS", 10.0),
        ("shared.tenants.secret_uses.EXACT_TO", 10 * MINUTE),
        ("shared.tenants.tenants.COLLECTION", "tenants"),
        ("shared.web.answers.LONGEST_RETRY_AFTER", 3600),
        ("shared.web.answers.RETRY_AFTER_SECONDS", 5),
        ("shared.web.json_bodies.DEEPEST", 32),
    ],
)  # fmt: skip
def test_a_number_or_name_that_others_rely_on_is_what_it_was_decided_to_be(name: str, value: object) -> None:
    module, _, constant = name.rpartition(".")
    assert getattr(import_module(module), constant) == value
