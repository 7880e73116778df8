"""Renders the body of a flow's webhook action, which a merchant types, with Django's own templates. It sends nothing.

Klaviyo's pages "How to add a webhook action to a flow" and "Django filter glossary": most of Django's built-in filters, and
filters of Klaviyo's own, of which only `lookup` is here. Import this module where a template is first needed: it brings
Django.

Assumed (templates-are-djangos):
a variable that is not there prints nothing, as in Django; null prints None, true and false print True and False;
nothing is escaped unless the flow says so, so a quote in a name breaks the JSON around it unless the template says
`escapejs`; a template that cannot be parsed is refused as it is typed.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings  # type: ignore[import-untyped]  # Django brings no types
from django.template import Context, Engine, Library, Template  # type: ignore[import-untyped]  # the same
from django.template.exceptions import TemplateSyntaxError  # type: ignore[import-untyped]  # the same

# Once for the process, and here, because imports of a module never overlap.
if not settings.configured:
    settings.configure(USE_I18N=False)

# Django looks for this name in the modules it is given as builtins.
register = Library()


class FlowTemplateError(ValueError):
    """The template cannot be parsed or rendered; the message says why, without values."""


def _lookup(value: object, name: str) -> Any:
    """Return the value under a name that a dotted path cannot express; an empty value if there is none."""
    return value.get(name, "") if isinstance(value, Mapping) else ""


register.filter("lookup", _lookup)


def parse(text: str) -> Template:
    """Return the template, ready to be rendered.

    Raises:
        FlowTemplateError: it cannot be parsed.
    """
    try:
        return Engine(builtins=[__name__]).from_string(text)
    except TemplateSyntaxError as error:
        raise FlowTemplateError(f"the body is no Django template: {error}") from None


def render(template: Template, variables: Mapping[str, Any], *, autoescape: bool) -> str:
    """Return the template filled in.

    Raises:
        FlowTemplateError: it uses a variable in a way that its value does not allow.
    """
    try:
        return str(template.render(Context(dict(variables), autoescape=autoescape)))
    except Exception as error:  # noqa: BLE001 (filters raise whatever they come across)
        raise FlowTemplateError(type(error).__name__) from None
