"""The path templates of Google's URL maps, as far as routes.yaml uses them.

The caller decides the effect of a match.
"""

import re
from collections.abc import Callable


def path_matcher(template: str) -> Callable[[str], bool]:
    """Return a function that says whether a raw path, without its query, matches a pathTemplateMatch.

    `*` is one segment, `**` the rest of the path, none of it included, and `{name=*}`, `{name}` and `{name=**}` are
    the same with a name (URL maps, wildcards in path templates).

    Raises:
        ValueError: the template is not one that a Google Cloud URL map takes.
    """
    segments = template.split("/")
    operators = [re.fullmatch(r"\*\*?|\{[A-Za-z_]\w*(?:=(\*\*?))?\}", segment) for segment in segments]
    rest = [(found[1] or found[0]) == "**" for found in operators if found]
    if not template.startswith("/") or len(rest) > 5 or any(rest[:-1]) or (any(rest) and not operators[-1]):
        raise ValueError(
            f"{template}: a template starts with /, has at most five wildcards, and ** comes last"
        )
    pattern = []
    for segment, found in zip(segments, operators, strict=True):
        if not found and re.search(r"[*{}]", segment):
            raise ValueError(f"{template}: a wildcard is a whole segment")
        many = found and (found[1] or found[0]) == "**"
        pattern.append(re.escape(segment) if not found else ".*" if many else "[^/]+")
    compiled = re.compile("/".join(pattern), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None
