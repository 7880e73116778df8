"""The least a function can be under this launcher: the baseline."""

import functions_framework
from flask import Request


@functions_framework.http
def hello(_request: Request) -> str:
    """Answer."""
    return "hello"
