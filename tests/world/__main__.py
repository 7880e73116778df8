"""`make simulate SEEDS=200000 [FROM=0]`: lives histories one after the other, and prints those that break a law as short stories."""

import argparse
import sys
from collections import Counter
from time import monotonic

from tests.world.history import live
from tests.world.plans import drawn
from tests.world.shrink import shrunk_story


def main() -> int:
    """Live the seeds that are asked for; return 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument(
        "--stories", type=int, default=5, help="how many broken histories are shrunk and told"
    )
    parser.add_argument("--every", type=int, default=1000, help="after how many histories a line is printed")
    asked = parser.parse_args()
    broken, fired, began = Counter[str](), Counter[str](), monotonic()
    wrong = 0
    for number, seed in enumerate(range(asked.first, asked.first + asked.seeds), 1):
        lived = live(drawn(seed))
        fired += lived.fired
        broken.update({law.split(":")[0] for law in lived.broken})
        if lived.went_wrong:
            wrong += 1
            told = shrunk_story(lived) if wrong <= asked.stories else "; ".join(lived.broken)
            print(f"\nseed {seed} {told}", flush=True)
        if number % asked.every == 0:
            rate = number / (monotonic() - began)
            print(
                f"{number} lived, up to seed {seed}: {wrong} went wrong {dict(broken)}, {rate:.0f} a second",
                flush=True,
            )
    for what, count in sorted(fired.items()):
        print(f"{count:8}  {what}")
    print(f"{asked.seeds} lived, {wrong} went wrong {dict(broken)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
