"""What the installed gcloud's own message classes say of Google's types: which fields are output only.

A field that is output only is read past where it is sent; a recorder that kept it would say that something is there.
"""

import re
from functools import cache
from pathlib import Path

from tests.deploy.gcp.gcloud import needed

_CLASS = r'^class {name}\(_messages\.Message\):\n  r?"""(.*?)"""'
_OUTPUT_ONLY = re.compile(r"^(?:\[Output Only\]|Output only\b)", re.IGNORECASE)


@cache
def output_only(api: str, name: str) -> frozenset[str]:
    """Return the output-only fields of a message class, such as BackendService of compute/v1."""
    described = re.search(_CLASS.format(name=name), _source(api), re.MULTILINE | re.DOTALL)
    assert described is not None, f"gcloud knows no {name} in {api}"
    fields = described[1].partition("  Fields:\n")[2]
    return frozenset(
        field
        for field, text in re.findall(r"^    (\w+): (.*)$", fields, re.MULTILINE)
        if _OUTPUT_ONLY.match(text)
    )


@cache
def enumerated(api: str, name: str, field: str) -> frozenset[str]:
    """Return the values that an enumerated field of a message class may have."""
    enum = f"{field[0].upper()}{field[1:]}ValueValuesEnum"
    whole = _source(api).partition(f"\nclass {name}(_messages.Message):")[2].partition("\nclass ")[0]
    within = whole.partition(f"  class {enum}(_messages.Enum):")[2].partition("\n  class ")[0]
    found = frozenset(re.findall(r"^    ([A-Z0-9_]+) = \d+$", within, re.MULTILINE))
    assert found, f"gcloud knows no {field} of {name} in {api}"
    return found


@cache
def _source(api: str) -> str:
    package, version = api.split("/")
    root = Path(needed("gcloud")).resolve().parents[1] / "lib/googlecloudsdk/generated_clients/apis"
    return (root / package / version / f"{package}_{version}_messages.py").read_text(encoding="utf-8")
