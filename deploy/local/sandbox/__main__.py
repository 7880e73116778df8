"""Runs the sandbox as a process: `python -m deploy.local.sandbox`. `sandbox.py` holds the services.

Prints one line of JSON with both addresses, then serves until SIGTERM or SIGINT.
"""

import argparse
import json
import signal
import threading

from deploy.local.sandbox.sandbox import Sandbox


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.sandbox", description="Klaviyo and Omneo on this machine."
    )
    parser.add_argument("--klaviyo-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--omneo-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, help="make the same ids and tokens every time")
    arguments = parser.parse_args()

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with Sandbox(
        seed=arguments.seed, klaviyo_port=arguments.klaviyo_port, omneo_port=arguments.omneo_port
    ) as sandbox:
        print(json.dumps({"klaviyo": sandbox.klaviyo.url, "omneo": sandbox.omneo.url_template}), flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
