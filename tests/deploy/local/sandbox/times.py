"""When most of the tests of the sandbox begin, by its clock."""

NOON = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
