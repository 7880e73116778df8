"""The core modules, whose own tests should notice 95 of 100 mutants, and where those tests are."""

from pathlib import Path

CORE = (
    "shared/consent/flush.py",
    "shared/consent/inbox.py",
    "shared/consent/ledger.py",
    "shared/consent/memories.py",
    "shared/consent/rules/calls.py",
    "shared/consent/rules/comparison.py",
    "shared/consent/rules/decisions.py",
    "shared/consent/rules/held.py",
    "shared/consent/rules/learning.py",
    "shared/consent/rules/results.py",
    "shared/consent/rules/whose.py",
    "shared/http/client.py",
    "shared/http/deadlines.py",
    "shared/jobs/rules/patience.py",
    "shared/jobs/rules/windows.py",
    "shared/klaviyo/tokens.py",
    "shared/metrics/rules/event.py",
    "shared/metrics/rules/event_profile.py",
    "shared/profiles/rules/mapping.py",
    "shared/profiles/sync.py",
    "shared/records/outbox.py",
    "shared/records/rules/record.py",
    "shared/resync/rules/run.py",
    "shared/rewards/attempts.py",
    "shared/rewards/claims.py",
    "shared/rewards/rules/reward.py",
    "shared/storage/encryption.py",
    "shared/storage/leases.py",
    "shared/values/phones.py",
    "shared/web/authentication.py",
    "shared/worker/delivery.py",
)

# Where a module's tests do not bear its name.
_MEMORY = ("tests/shared/consent/rules/test_memory.py",)
_ELSEWHERE = {
    "shared/consent/rules/calls.py": _MEMORY,
    "shared/consent/rules/held.py": ("tests/shared/consent/rules/test_comparison.py",),
    "shared/consent/rules/learning.py": _MEMORY,
    "shared/consent/rules/results.py": _MEMORY,
    "shared/consent/rules/whose.py": _MEMORY,
    "shared/rewards/attempts.py": ("tests/shared/rewards/test_claims.py",),
}


def own_tests(module: str, repository: Path) -> list[str]:
    """Return the test files of a module: those in its room below tests/ that bear its name, alone or with more words behind it.

    Raises:
        ValueError: there are none.
    """
    if module in _ELSEWHERE:
        return list(_ELSEWHERE[module])
    source, room = repository / module, repository / Path("tests", module).parent
    # What bears the whole longer name of another module, as test_event_profile.py does beside event.py, is that one's.
    others = [path.stem for path in source.parent.glob(f"{source.stem}_*.py")]
    found = [
        path
        for path in (room / f"test_{source.stem}.py", *sorted(room.glob(f"test_{source.stem}_*.py")))
        if path.exists() and not any(path.stem.startswith(f"test_{other}") for other in others)
    ]
    if not found:
        raise ValueError(f"{module} has no tests of its own below {room}")
    return [str(path.relative_to(repository)) for path in found]
