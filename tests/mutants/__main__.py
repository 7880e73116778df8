"""`make mutants [MODULES=...] [SEED=1] [MOST=20]`: which small changes of the core modules no test notices, neither their own nor their neighbours'."""

import argparse
import sys
from pathlib import Path

from tests.mutants.core import CORE, neighbours, own_tests
from tests.mutants.making import sample
from tests.mutants.noticing import Copy, copied

REPOSITORY = Path(__file__).parents[2]
LEAST_KILLED = 0.95


def measured(copy: Copy, repository: Path, module: str, *, most: int, seed: int, alone: bool) -> float:
    """Print what became of a sample of a module's mutants; return the killed part.

    A module's own tests come first; its neighbours' tests run on what those miss, unless its own shall do it alone.
    """
    asked = [copy.tests(module, own_tests(module, repository))]
    if not alone:
        asked.append(copy.tests(module, neighbours(module, repository)))
    original = (repository / module).read_text(encoding="utf-8")
    mutants = sample(original, most=most, seed=seed)
    noticed, survivors = [0] * len(asked), []
    for mutant in mutants:
        for turn, tests in enumerate(asked):
            if tests.notice(mutant.code(original)):
                noticed[turn] += 1
                break
        else:
            survivors.append(mutant.diff(original))
    killed = len(mutants) - len(survivors)
    print(
        f"{module}: {killed} of {len(mutants)} killed, {noticed[0]} by its own tests, {len(survivors)} survived",
        flush=True,
    )
    for diff in survivors:
        print(f"\n{diff}\n", flush=True)
    return killed / len(mutants) if mutants else 1.0


def main(words: list[str] | None = None, repository: Path = REPOSITORY) -> int:
    """Measure the modules that are asked for; return 1 if too many mutants of one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", default=CORE, help="paths from the top; without any, all core modules"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=20, help="how many mutants of each module")
    parser.add_argument(
        "--alone", action="store_true", help="no neighbours' tests, which take longest: what may survive"
    )
    asked = parser.parse_args(words)
    with copied(repository) as copy:
        parts = [
            measured(copy, repository, module, most=asked.most, seed=asked.seed, alone=asked.alone)
            for module in asked.modules
        ]
    return 0 if min(parts) >= LEAST_KILLED else 1


if __name__ == "__main__":
    sys.exit(main())
