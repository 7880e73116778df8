"""`python -m deploy.local run` and `serve`, which `make run` and `make serve` call."""

import sys

from deploy.local.processes import StartError
from deploy.local.serve import serve
from deploy.staging import StagingError
from shared.errors import ConfigurationError


def main() -> None:
    """Run the command, and report what stops it in one readable message."""
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        match command:
            case "run":
                from deploy.local.demo import run

                run()
            case "serve":
                serve()
            case _:
                sys.exit("usage: python -m deploy.local run | serve")
    except (ConfigurationError, StartError, StagingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
