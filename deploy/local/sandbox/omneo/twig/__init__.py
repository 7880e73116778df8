"""Renders a target's template as Twig does. A supported part prints the same as php-twig; the rest is refused by name,
line and column. It knows no target and sends nothing. Our own code, because no library prints the same as Twig: PyPI
has no Twig, and Jinja is another language under a like syntax. Its filters bind, its numbers print, its empty values
compare and its maps count by Python's rules, and its sandbox bounds neither time nor memory. A layer above Jinja would
still have to parse Twig, and most of this code is PHP's rules (`php.py`), filters and dates. Twig's own code, run by
Debian's php-twig, is the referee of the tests.

A template may be hostile. It reaches only values that came as JSON: no attribute of Python, no file, no other template,
no pattern of a regular expression. A budget limits its computation (`budget.py`).

Assumed (templates-are-twigs): nothing is escaped, a variable that is missing is null, times are UTC unless the template says
otherwise. Not supported, among others: other templates, macros, `matches`, `random`, `|convert_encoding`, `|striptags`.
"""

from deploy.local.sandbox.omneo.twig.numbers import number_format
from deploy.local.sandbox.omneo.twig.refusals import TemplateFailedError
from deploy.local.sandbox.omneo.twig.template import Twig

__all__ = ["TemplateFailedError", "Twig", "number_format"]
