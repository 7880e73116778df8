"""Functions loaded as the launcher loads them, from their staged source root, and called through Flask's test client."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from functions_framework import create_app

from deploy.staging import stage

Load = Callable[[str, Mapping[str, str]], FlaskClient]


@pytest.fixture(scope="session")
def source_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the source root of a function, staged once in a run: to lay some hundreds of files takes longer than most tests."""
    staged = tmp_path_factory.mktemp("staged")
    return cache(lambda name: stage(name, staged / name))


@pytest.fixture
def load(source_root: Callable[[str], Path]) -> Iterator[Load]:
    """Return `load(name, environment)`, which gives a client of the function.

    The framework writes the environment, `sys.path` and `sys.modules["main"]`; all are put back.
    """
    environment, path, main = dict(os.environ), list(sys.path), sys.modules.get("main")

    def load(name: str, variables: Mapping[str, str]) -> FlaskClient:
        root = source_root(name)
        os.environ.clear()
        os.environ.update(variables)
        app: Flask = create_app(name, str(root / "main.py"), "http")  # type: ignore[no-untyped-call]  # it has no types
        return app.test_client()

    yield load
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    if main is not None:
        sys.modules["main"] = main
