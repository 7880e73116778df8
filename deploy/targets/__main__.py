"""`python -m deploy.targets`."""

from deploy.targets.commands import targets

if __name__ == "__main__":
    targets(prog_name="python -m deploy.targets")
