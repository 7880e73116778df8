"""A hostile template reaches nothing, and ends within a second and 50 MB."""

import json
import math
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig

ROOT = Path(__file__).parents[6]
CONTEXT = {"word": "canary" * 1000, "list": [*range(500)], "deep": {"er": {}}, "x": "x"}
DOUBLED = "{% set a = a ~ a %}" * 60
MANY_VARIABLES = "".join(f"{{% set a{number} = 1 %}}" for number in range(4500))
LONG = "{% set s %}{% for i in 1..9000 %}99999999999999999999{% endfor %}{% endset %}"
BLANK = "{% set s %}{% for i in 1..9000 %}                    {% endfor %}{% endset %}"
GREEDY = [
    *(
        f"{start}{{% set t = s|slice(1) %}}{{% for i in 1..9000 %}}{{{{ {asked} }}}}{{% endfor %}}"
        for start in (LONG, BLANK)
        for asked in (
            "s == 5",
            "s == t",
            "s < t",
            "(s ~ '')|trim|length",
            "5 in [s, s, s]",
            "s|abs",
            "s|round",
            "s|number_format",
            "(s|slice(0, 90000) ~ 'x') in s",
            "(s|slice(0, 90000) ~ 'x') not in [s, t]",
            "{a: 1}[s]",
            "max(s, 5)",
            "[s, t]|sort|length",
        )
    ),
    LONG + "{% for i in 1..9000 %}{{ s + 1 }}{% endfor %}",
    "{% for i in 1..9999 %}{% for j in 1..9999 %}{% for k in 1..9999 %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for i in 1..9999 %}{% for j in 1..9999 %}{{ word }}{% endfor %}{% endfor %}",
    "{% for i in list %}{% for j in list %}{{ i * j }}{% endfor %}{% endfor %}",
    "{% set a = 'x' %}" + DOUBLED + "{{ a|length }}",
    "{% set a = [1] %}" + "{% set a = a|merge(a) %}" * 60,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a|json_encode }}",
    "{% set a = 'x' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a == a }}",
    "{% set a = range(0, 9000) %}{% for i in 1..9999 %}{{ a == a }}{{ a|sort|keys|join }}{% endfor %}",
    MANY_VARIABLES + "{% for i in 1..9999 %}{% for j in [1] %}{% endfor %}{% endfor %}",
    MANY_VARIABLES + "{{ (1..9999)|map(v => v)|join }}",
    "{% for i in 1..9999 %}{{ word|replace({'c': 'd'})|length }}{{ word == word }}{{ 'zzz' in word }}{% endfor %}",
    "{% for i in 1..9999 %}{{ '2026-03-22'|date_modify('+1 day')|date('c') }}{% endfor %}",
    "{{ range(0, 1000000000) }}",
    "{{ 0..1e300 }}",
    "{{ ('a' ~ word)|replace({'c': word, 'a': word, 'n': word}) }}",
    "{{ '%999d%999d%999d'|format(1, 2, 3)|replace({' ': word}) }}",
    "{{ '%99999999999s'|format('x') }}",
    "{{ 9999999999 ** 99999999999 }}{{ 9 ** 9 ** 9 ** 9 }}",
    "{{ 1|number_format(1000000000) }}",
    "{{ 1|round(1000000000) }}{{ (9 ** 999)|round(1, 'floor') }}",
    "{{ [1]|batch(1000000000, 1) }}",
    "{{ word|split('')|join(word) }}",
    "{{ list|map(v => list|map(w => list|map(u => u))) }}",
    "{{ list|sort((a, b) => list|reduce((c, v) => c + v)) }}",
    "{{ 'now'|date('" + "c" * 50_000 + "') }}",
    "{{ '" + "1 day " * 10_000 + "'|date }}",
    "{{ 'now'|date_modify('+999999999999999999 years') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 5000 + "1 }}",
    "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{{ " + "1 ? " * 5000 + "1 }}",
    "{{ 1" + " ~ 1" * 5000 + " }}",
    "{{ x" + ".x" * 5000 + " }}",
    "{{ x" + "|upper" * 5000 + " }}",
    "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    '{{ "' + '#{"' * 5000,
    "{{ " * 50_000,
    "{#" * 50_000,
    "{{ '" + "\\" * 99_999 + "' }}",
    '{{ "' + "#" * 99_999,
    "{{" + " " * 199_000,
    " " * 190_000 + "{{- 1 -}}" + " " * 5000,
    "x" * 300_000,
    "{% verbatim %}" + "{% endverbati" * 10_000,
    "{{ 'x'|trim('" + "a" * 100_000 + "') }}",
]


_RENDERS = """
import json, resource, sys, time
from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig
asked = json.load(sys.stdin)
twig = Twig(lambda: 0.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for template in asked["templates"]:
    began = time.process_time()
    try:
        twig.render(template, asked["context"])
    except TemplateFailedError:
        pass
    took = time.process_time() - began
    print(took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.fixture(scope="module")
def greed() -> list[tuple[float, float]]:
    """Return what each greedy template took: seconds, and by how many bytes the process has grown at most since the first of them.

    All of them in one process: to trace the memory of each takes several times as long as the template.
    """
    ran = subprocess.run(
        [sys.executable, "-c", _RENDERS], input=json.dumps({"templates": GREEDY, "context": CONTEXT}),
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    rows = [line.split() for line in ran.stdout.splitlines()]
    return [(float(took), float(grown)) for took, grown in rows]


@pytest.mark.parametrize("number", range(len(GREEDY)))
def test_a_greedy_template_ends_within_a_second_and_50_mb(
    greed: list[tuple[float, float]], number: int
) -> None:
    took, grown = greed[number]
    assert took < 1.0, GREEDY[number][:80]
    assert grown < 50_000_000, GREEDY[number][:80]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ x.__class__.__mro__ }}",
        "{{ deep.__init__.__globals__ }}",
        "{{ attribute(x, '__class__') }}",
        "{{ x['__class__'] }}",
        "{{ list.append }}",
        "{{ deep.keys }}{{ deep.items }}{{ deep.er.values }}",
        "{{ _context.__class__ }}",
        "{{ [x]|map(v => v.__class__)|join }}",
        "{{ constructor }}{{ self }}{{ lipsum }}{{ cycler }}{{ namespace }}",
    ],
)
def test_nothing_of_python_can_be_reached(template: str) -> None:
    assert Twig(lambda: 0.0).render(template, CONTEXT).strip() == ""


@pytest.mark.parametrize(
    "template",
    [
        "{{ x.upper() }}",
        "{{ deep.keys() }}",
        "{{ ['id']|map('system')|join }}",
        "{{ ['id']|filter('system') }}",
        "{{ ['id', '']|sort('system') }}",
        "{{ [0]|reduce('system', 'id') }}",
        "{{ ['id'] has some 'system' }}",
        "{{ source('/etc/passwd') }}",
        "{{ include('/etc/passwd') }}",
        "{{ constant('PHP_VERSION') }}",
        "{{ constant('__class__', x) }}",
        "{{ _self.env.registerUndefinedFilterCallback('exec') }}",
        "{{ 1|upper(scope=1) }}",
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% sandbox %}{% endsandbox %}",
        "{{ block('x') }}",
    ],
)
def test_what_reaches_out_in_twig_is_refused(template: str) -> None:
    with pytest.raises(TemplateFailedError):
        Twig(lambda: 0.0).render(template, CONTEXT)


@pytest.mark.parametrize("size", [0, -1, 10_000.5, math.inf, -math.inf, math.nan])
def test_a_batch_of_no_size_that_can_be_is_refused(size: float) -> None:
    with pytest.raises(TemplateFailedError, match="size of a batch"):
        Twig(lambda: 0.0).render("{{ [1]|batch(size) }}", {"size": size})


_PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "'", '"', "#{", "}", "{", "(", ")", "[", "]", "|", ".", "..", "~", "-", "\\", "\n", "\0",
     " ", "if", "for", "in", "set", "=", "=>", "endif", "endfor", "else", "x", "list", "1", "0.5", "upper", "json_encode", "date",
     "not", "is", "defined", "?", ":", ",", "é", "😀", "verbatim", "endverbatim", "apply"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_whatever_stands_in_a_template_it_prints_or_is_refused(template: str) -> None:
    with suppress(TemplateFailedError):
        assert isinstance(Twig(lambda: 0.0).render(template, {"x": "x", "list": [1]}), str)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_USES = st.sampled_from(
    ["{{ a }}", "{{ a + b }}", "{{ a|number_format(2) }}", "{{ a|date('c') }}", "{{ a < b }}", "{{ a in b }}", "{{ a ~ b }}",
     "{{ a|json_encode }}", "{{ a|url_encode }}", "{{ a|sort|join }}", "{{ a|round(b) }}", "{{ a|slice(b) }}", "{{ a[b] }}",
     "{{ a|date_modify(b)|date }}", "{{ a ** b }}", "{{ a % b }}", "{{ a // b }}", "{{ a..b }}", "{{ max(a, b) }}", "{{ a|format(b) }}",
     "{{ a|replace(b) }}", "{{ a|batch(b) }}", "{{ a b-and b }}", "{% for x in a %}{{ x }}{% endfor %}", "{{ a|split(b) }}",
     "{{ a|join(b) }}", "{{ a|merge(b) }}", "{{ cycle(a, b) }}", "{{ a|e('js') }}", "{{ a|capitalize }}", "{{ range(a, b) }}"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(_USES, _VALUES, _VALUES)
def test_whatever_stands_in_a_context_it_prints_or_is_refused(template: str, a: object, b: object) -> None:
    with suppress(TemplateFailedError):
        assert isinstance(Twig(lambda: 0.0).render(template, {"a": a, "b": b}), str)
