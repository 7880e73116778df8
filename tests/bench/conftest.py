"""What pytest must not import here: entry points read the environment as they are imported."""

collect_ignore_glob = ["functions/*"]
