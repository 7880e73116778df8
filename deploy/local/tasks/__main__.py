"""The emulator as a process: `python -m deploy.local.tasks --database PATH`.

Once it serves it prints one line of JSON, {"grpc": "HOST:PORT", "http": "HOST:PORT"}. SIGTERM and SIGINT end it with
exit status 0.
"""

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from deploy.local.tasks.database import DatabaseFormatError, DatabaseInUseError
from deploy.local.tasks.emulator import LOOPBACK, PortInUseError, TasksEmulator


def main() -> int:
    """Serve until told to stop and return the exit status."""
    options = _options()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    emulator = TasksEmulator(
        options.database, host=options.host, port=options.port, http_port=options.http_port
    )
    try:
        emulator.start()
    except (DatabaseFormatError, DatabaseInUseError, PortInUseError, OSError) as error:
        print(f"The queue emulator cannot start: {error}", file=sys.stderr)
        return 1
    try:
        if options.print_addresses:
            print(json.dumps({"grpc": emulator.grpc_address, "http": emulator.http_address}), flush=True)
        stop.wait()
    finally:
        emulator.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.tasks", description="A local Cloud Tasks.")
    parser.add_argument("--database", type=Path, required=True, help="the SQLite file that keeps the tasks")
    parser.add_argument("--host", choices=LOOPBACK, default="127.0.0.1", help="loopback only")
    parser.add_argument(
        "--port", type=int, default=8123, help="for gRPC; 0 means any free one (default: 8123)"
    )
    parser.add_argument("--http-port", type=int, default=0, help="for the record (default: any free one)")
    parser.add_argument("--print-addresses", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
