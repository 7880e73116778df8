"""Functions loaded as the launcher loads them, from their staged source root, and called through Flask's test client."""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest
from flask import Flask
from flask.testing import FlaskClient
from functions_framework import create_app

from deploy.staging import stage

# A server's headers for a body in chunks, which it has put together; they contain no length.
CHUNKED = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}


class Load(Protocol):
    """Loads a function."""

    def __call__(
        self, name: str, variables: Mapping[str, str], *, sleep: Callable[[float], None] | None = None
    ) -> FlaskClient:
        """Return a client of the function, loaded in this environment. `sleep` takes the place of its waiting."""


@pytest.fixture(scope="session")
def source_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the source root of a function, staged once in a run: to lay some hundreds of files takes longer than most tests."""
    staged = tmp_path_factory.mktemp("staged")
    return cache(lambda name: stage(name, staged / name))


@pytest.fixture
def load(source_root: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return a loader of functions. The framework writes the environment, `sys.path` and `sys.modules["main"]`; all are
    put back.
    """
    # A function that starts leaves the present objects out of all looks for garbage. Here these are the leftovers of
    # earlier tests.
    monkeypatch.setattr(gc, "freeze", lambda: None)
    environment, path, main = dict(os.environ), list(sys.path), sys.modules.get("main")

    def load(
        name: str, variables: Mapping[str, str], *, sleep: Callable[[float], None] | None = None
    ) -> FlaskClient:
        root = source_root(name)
        os.environ.clear()
        os.environ.update(variables)
        app: Flask = create_app(name, str(root / "main.py"), "http")  # type: ignore[no-untyped-call]  # it has no types
        if sleep is not None:
            vars(sys.modules["main"].services)["sleep"] = sleep
        return app.test_client()

    yield load
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    if main is not None:
        sys.modules["main"] = main
