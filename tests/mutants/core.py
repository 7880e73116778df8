"""The core modules, whose tests should notice 95 of 100 mutants, and where those tests are."""

from pathlib import Path

# Where a fault loses an opt-out, doubles a reward, loses or doubles an event, or takes one person for another.
CORE = (
    "shared/consent/asking.py",
    "shared/consent/flush.py",
    "shared/consent/former_identities.py",
    "shared/consent/former_numbers.py",
    "shared/consent/heal.py",
    "shared/consent/heirs.py",
    "shared/consent/inbox.py",
    "shared/consent/interactions.py",
    "shared/consent/klaviyo_profile.py",
    "shared/consent/ledger.py",
    "shared/consent/looks.py",
    "shared/consent/master_list.py",
    "shared/consent/memories.py",
    "shared/consent/rules/calls.py",
    "shared/consent/rules/comparison.py",
    "shared/consent/rules/decisions.py",
    "shared/consent/rules/delivery.py",
    "shared/consent/rules/held.py",
    "shared/consent/rules/learning.py",
    "shared/consent/rules/memory.py",
    "shared/consent/rules/numbers.py",
    "shared/consent/rules/results.py",
    "shared/consent/rules/step.py",
    "shared/consent/rules/whose.py",
    "shared/consent/spreading.py",
    "shared/consent/stamps_ahead.py",
    "shared/consent/to_omneo.py",
    "shared/consent/webhook.py",
    "shared/http/answers.py",
    "shared/http/client.py",
    "shared/http/connections.py",
    "shared/http/deadlines.py",
    "shared/http/outward.py",
    "shared/installation/attempts.py",
    "shared/installation/grants.py",
    "shared/installation/links.py",
    "shared/installation/pending.py",
    "shared/installation/provision.py",
    "shared/installation/steps.py",
    "shared/jobs/burial.py",
    "shared/jobs/cloud_tasks.py",
    "shared/jobs/dead_job.py",
    "shared/jobs/dead_job_rows.py",
    "shared/jobs/dead_jobs.py",
    "shared/jobs/held_causes.py",
    "shared/jobs/jobs.py",
    "shared/jobs/queue.py",
    "shared/jobs/replays.py",
    "shared/jobs/rules/causes.py",
    "shared/jobs/rules/patience.py",
    "shared/jobs/rules/persons.py",
    "shared/jobs/rules/wanted.py",
    "shared/jobs/rules/windows.py",
    "shared/jobs/windows.py",
    "shared/klaviyo/bulk.py",
    "shared/klaviyo/client.py",
    "shared/klaviyo/consent_jobs.py",
    "shared/klaviyo/json_api.py",
    "shared/klaviyo/profiles.py",
    "shared/klaviyo/records.py",
    "shared/klaviyo/rules/attributes.py",
    "shared/klaviyo/tokens.py",
    "shared/matching.py",
    "shared/metrics/arrival.py",
    "shared/metrics/backlog.py",
    "shared/metrics/batches.py",
    "shared/metrics/few.py",
    "shared/metrics/lane.py",
    "shared/metrics/metrics.py",
    "shared/metrics/packing.py",
    "shared/metrics/profile.py",
    "shared/metrics/rules/bulk.py",
    "shared/metrics/rules/event.py",
    "shared/metrics/rules/event_profile.py",
    "shared/metrics/rules/few.py",
    "shared/metrics/rules/paths.py",
    "shared/metrics/rules/shapes.py",
    "shared/metrics/rules/track.py",
    "shared/metrics/singles.py",
    "shared/omneo/client.py",
    "shared/omneo/envelopes.py",
    "shared/omneo/models.py",
    "shared/profiles/backlog.py",
    "shared/profiles/calls.py",
    "shared/profiles/consent_calls.py",
    "shared/profiles/deleted.py",
    "shared/profiles/former_owners.py",
    "shared/profiles/giving_up.py",
    "shared/profiles/klaviyo_import.py",
    "shared/profiles/look.py",
    "shared/profiles/making_room.py",
    "shared/profiles/merging.py",
    "shared/profiles/opt_outs.py",
    "shared/profiles/ownership.py",
    "shared/profiles/packing.py",
    "shared/profiles/parting.py",
    "shared/profiles/planning.py",
    "shared/profiles/rules/calls.py",
    "shared/profiles/rules/draft.py",
    "shared/profiles/rules/exclusions.py",
    "shared/profiles/rules/mapping.py",
    "shared/profiles/rules/omneo_paths.py",
    "shared/profiles/rules/owners.py",
    "shared/profiles/rules/sync_plan.py",
    "shared/profiles/rules/urgent.py",
    "shared/profiles/sharing.py",
    "shared/profiles/subjects.py",
    "shared/profiles/sync.py",
    "shared/profiles/synced.py",
    "shared/profiles/taking_over.py",
    "shared/profiles/turn.py",
    "shared/profiles/waiting.py",
    "shared/receipts.py",
    "shared/records/data_sources.py",
    "shared/records/outbox.py",
    "shared/records/packing.py",
    "shared/records/records.py",
    "shared/records/rules/record.py",
    "shared/records/sending.py",
    "shared/resync/rules/run.py",
    "shared/rewards/attempts.py",
    "shared/rewards/claims.py",
    "shared/rewards/counts.py",
    "shared/rewards/definitions.py",
    "shared/rewards/making.py",
    "shared/rewards/rewards.py",
    "shared/rewards/rules/amount.py",
    "shared/rewards/rules/expiry.py",
    "shared/rewards/rules/reward.py",
    "shared/storage/documents.py",
    "shared/storage/encryption.py",
    "shared/storage/leases.py",
    "shared/storage/sealed.py",
    "shared/tenants/cache.py",
    "shared/tenants/keys.py",
    "shared/tenants/sealing.py",
    "shared/tenants/secret_uses.py",
    "shared/tenants/settings.py",
    "shared/tenants/tenants.py",
    "shared/values/dates.py",
    "shared/values/emails.py",
    "shared/values/phones.py",
    "shared/web/answers.py",
    "shared/web/authentication.py",
    "shared/web/callers.py",
    "shared/web/calls.py",
    "shared/web/endpoints.py",
    "shared/web/json_bodies.py",
    "shared/web/routes.py",
    "shared/worker/delivery.py",
    "shared/worker/giving_up.py",
    "shared/worker/outcomes.py",
    "shared/worker/replaying.py",
    "shared/worker/run.py",
    "shared/worker/schedule.py",
    "shared/worker/unread.py",
    "shared/worker/waiting.py",
)

# Where a module's tests do not bear its name.
_MEMORY = (
    "tests/shared/consent/rules/test_memory.py",
    "tests/shared/consent/rules/test_calls.py",
    "tests/shared/consent/rules/test_comparison.py",
)
_DESK = ("tests/shared/jobs/test_dead_jobs.py", "tests/shared/worker/test_replaying.py")
_ENDPOINTS = ("tests/shared/web/test_authentication.py",)
_FLUSH = ("tests/shared/consent/test_flush.py", "tests/shared/consent/test_flush_crashes.py")
_INSTALL = (
    "tests/functions/test_install.py",
    "tests/functions/test_install_attacks.py",
    "tests/functions/test_install_safety.py",
    "tests/functions/test_install_failures.py",
    "tests/functions/test_install_grants.py",
    "tests/functions/test_install_by_link.py",
)
_KLAVIYO = ("tests/shared/klaviyo/test_client.py", "tests/shared/klaviyo/test_verdicts.py")
_LANE = ("tests/shared/metrics/test_lane.py", "tests/shared/metrics/test_packing.py")
_OMNEO = (
    "tests/shared/omneo/test_client.py",
    "tests/shared/omneo/test_rewards.py",
    "tests/shared/omneo/test_webhooks.py",
)
_RECORDS = ("tests/shared/records/test_records.py", "tests/shared/records/test_order.py")
_REWARDS = ("tests/shared/rewards/test_rewards.py", "tests/shared/rewards/test_one_person.py")
_SYNC = ("tests/shared/profiles/test_sync.py", "tests/shared/profiles/test_sync_in_order.py")
_SYNC_REFUSED = ("tests/shared/profiles/test_sync_refusals.py", "tests/shared/profiles/test_persons.py")
_VALUES = ("tests/shared/values/test_exam.py", "tests/shared/values/test_rendered.py")
_WORKER = ("tests/shared/worker/test_delivery.py", "tests/shared/worker/test_replaying.py")
_ELSEWHERE = {
    "shared/consent/heirs.py": ("tests/shared/consent/test_former_identities.py", *_FLUSH),
    "shared/consent/interactions.py": _FLUSH,
    "shared/consent/klaviyo_profile.py": _FLUSH,
    "shared/consent/rules/held.py": ("tests/shared/consent/rules/test_held.py", *_MEMORY),
    "shared/consent/rules/learning.py": (*_MEMORY, "tests/shared/consent/test_stamps_ahead.py"),
    "shared/consent/rules/memory.py": _MEMORY,
    "shared/consent/rules/results.py": _MEMORY,
    "shared/consent/rules/step.py": ("tests/shared/consent/rules/test_comparison.py",),
    "shared/consent/rules/whose.py": _MEMORY,
    "shared/consent/webhook.py": ("tests/functions/test_system_webhooks.py",),
    "shared/http/answers.py": ("tests/shared/http/test_client.py",),
    "shared/http/connections.py": ("tests/shared/http/test_client.py",),
    "shared/http/outward.py": ("tests/shared/http/test_forbidden.py", "tests/shared/notify/test_notify.py"),
    "shared/installation/attempts.py": _INSTALL,
    "shared/installation/grants.py": ("tests/functions/test_install_grants.py", *_INSTALL[:4]),
    "shared/installation/steps.py": _INSTALL,
    "shared/jobs/dead_job.py": _DESK,
    "shared/jobs/dead_job_rows.py": ("tests/shared/jobs/test_dead_jobs.py",),
    "shared/jobs/held_causes.py": _DESK,
    "shared/jobs/queue.py": ("tests/shared/jobs/test_cloud_tasks.py",),
    "shared/jobs/replays.py": _DESK,
    "shared/jobs/rules/wanted.py": (*_DESK, "tests/shared/admin/test_desk.py"),
    "shared/jobs/windows.py": ("tests/shared/jobs/test_jobs.py", _SYNC[0]),
    "shared/klaviyo/consent_jobs.py": _KLAVIYO,
    "shared/klaviyo/json_api.py": _KLAVIYO,
    "shared/klaviyo/rules/attributes.py": ("tests/shared/profiles/rules/test_mapping.py",),
    "shared/metrics/few.py": _LANE,
    "shared/metrics/metrics.py": ("tests/functions/test_targets.py", _WORKER[0]),
    "shared/metrics/rules/few.py": _LANE,
    "shared/metrics/rules/paths.py": (
        "tests/shared/metrics/rules/test_event.py",
        "tests/shared/metrics/rules/test_event_profile.py",
    ),
    "shared/metrics/rules/shapes.py": (
        "tests/shared/metrics/rules/test_event.py",
        "tests/shared/metrics/rules/test_event_profile.py",
    ),
    "shared/metrics/rules/track.py": (
        "tests/shared/metrics/rules/test_event.py",
        "tests/shared/metrics/rules/test_event_profile.py",
    ),
    "shared/metrics/singles.py": _LANE,
    "shared/omneo/envelopes.py": _OMNEO,
    "shared/omneo/models.py": _OMNEO,
    "shared/profiles/calls.py": _SYNC,
    "shared/profiles/consent_calls.py": _SYNC,
    "shared/profiles/giving_up.py": _SYNC_REFUSED,
    "shared/profiles/klaviyo_import.py": _SYNC_REFUSED,
    "shared/profiles/making_room.py": _SYNC_REFUSED,
    "shared/profiles/merging.py": _SYNC_REFUSED,
    "shared/profiles/ownership.py": _SYNC_REFUSED,
    "shared/profiles/parting.py": ("tests/shared/profiles/test_merged_in_klaviyo.py",),
    "shared/profiles/planning.py": _SYNC,
    "shared/profiles/rules/calls.py": ("tests/shared/profiles/rules/test_mapping.py", *_SYNC),
    "shared/profiles/rules/draft.py": ("tests/shared/profiles/rules/test_mapping.py", *_SYNC),
    "shared/profiles/rules/omneo_paths.py": (
        "tests/shared/profiles/rules/test_mapping.py",
        "tests/shared/profiles/rules/test_exclusions.py",
    ),
    "shared/profiles/rules/sync_plan.py": _SYNC,
    "shared/profiles/sharing.py": ("tests/shared/consent/test_former_numbers.py", *_SYNC),
    "shared/profiles/subjects.py": _SYNC,
    "shared/profiles/turn.py": ("tests/shared/profiles/test_sync_in_order.py",),
    "shared/records/data_sources.py": _RECORDS,
    "shared/records/packing.py": _RECORDS,
    "shared/records/sending.py": _RECORDS,
    "shared/rewards/attempts.py": ("tests/shared/rewards/test_claims.py",),
    "shared/rewards/counts.py": ("tests/shared/rewards/test_claims.py",),
    "shared/rewards/definitions.py": ("tests/shared/omneo/test_rewards.py",),
    "shared/rewards/making.py": _REWARDS,
    "shared/rewards/rules/amount.py": ("tests/shared/rewards/test_one_person.py",),
    "shared/rewards/rules/expiry.py": ("tests/shared/rewards/rules/test_reward.py",),
    "shared/storage/sealed.py": (
        "tests/shared/records/test_outbox.py",
        "tests/shared/metrics/test_backlog.py",
    ),
    "shared/tenants/sealing.py": ("tests/shared/tenants/test_tenants.py",),
    "shared/values/dates.py": _VALUES,
    "shared/values/emails.py": _VALUES,
    "shared/web/answers.py": _ENDPOINTS,
    "shared/web/callers.py": _ENDPOINTS,
    "shared/web/calls.py": _ENDPOINTS,
    "shared/web/endpoints.py": _ENDPOINTS,
    "shared/web/routes.py": _ENDPOINTS,
    "shared/worker/giving_up.py": _WORKER,
    "shared/worker/outcomes.py": _WORKER,
    "shared/worker/run.py": _WORKER,
    "shared/worker/schedule.py": _WORKER,
    "shared/worker/unread.py": _WORKER,
    "shared/worker/waiting.py": _WORKER,
}


def neighbours(module: str, repository: Path) -> list[str]:
    """Return the test files beside a module's own: those of its room, and those elsewhere that import it."""
    name = module.removesuffix(".py").replace("/", ".")
    room = repository / Path("tests", module).parent
    imports = (f"from {name} import", f"import {name}")
    found = [
        path
        for path in sorted((repository / "tests").rglob("test_*.py"))
        if path.parent == room or any(words in path.read_text(encoding="utf-8") for words in imports)
    ]
    own = own_tests(module, repository)
    return [path for path in (str(path.relative_to(repository)) for path in found) if path not in own]


def own_tests(module: str, repository: Path) -> list[str]:
    """Return the test files of a module: those in its room below tests/ that bear its name, alone or with more words behind it.

    The examples in its own docstrings come first. Some modules have none: a bigger one beside them does their work, and its tests see it.
    """
    examples = [module] if "    >>> " in (repository / module).read_text(encoding="utf-8") else []
    if module in _ELSEWHERE:
        return [*examples, *_ELSEWHERE[module]]
    source, room = repository / module, repository / Path("tests", module).parent
    # What bears the whole longer name of another module, as test_event_profile.py does beside event.py, is that one's.
    others = [path.stem for path in source.parent.glob(f"{source.stem}_*.py")]
    found = [
        path
        for path in (room / f"test_{source.stem}.py", *sorted(room.glob(f"test_{source.stem}_*.py")))
        if path.exists() and not any(path.stem.startswith(f"test_{other}") for other in others)
    ]
    return [*examples, *(str(path.relative_to(repository)) for path in found)]
