"""The files that pytest must not import here: entry points read the environment at their import."""

collect_ignore_glob = ["functions/*"]
