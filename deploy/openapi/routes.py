"""Every public call that the code answers, read from the functions and their tables, with the function that answers it."""

import ast
from collections.abc import Iterator

from deploy.staging import REPOSITORY, load_functions
from shared.admin.interface import PATH
from shared.admin.routes import ROUTES as OF_ADMIN
from shared.installation.steps import ROUTES as OF_INSTALL
from shared.targets.routes import TARGETS

BASE = "/{tenant}/api/v1"
TARGET = "{target}"


def served() -> dict[tuple[str, str], str]:
    """Return the name of the function that answers, by method and path. A path that names a target stands once for each of them."""
    found = {("GET", PATH): "admin"}
    found |= {(method, f"{BASE}{path}"): "admin" for method, path in OF_ADMIN}
    found |= dict.fromkeys(OF_INSTALL, "install")
    for function in load_functions().values():
        if function.public:
            found |= dict.fromkeys(_decorated(function.name), function.name)
    return found


def _decorated(function: str) -> Iterator[tuple[str, str]]:
    """Yield the method and path of each `endpoint` in a function's main.py. To import it would start the function."""
    for node in ast.walk(ast.parse((REPOSITORY / "functions" / function / "main.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "endpoint":
            method, path = (ast.literal_eval(argument) for argument in node.args)
            names = TARGETS if TARGET in path else ("",)
            yield from ((method, path.replace(TARGET, name)) for name in names)
