"""The words of the makers of Klaviyo and Omneo: names of fields, types, codes, words of enumerations, sentences. Pure.

A word of theirs is known by its place and its form. A sentence may quote anybody's value: it keeps only the words that stand here.
"""

import re
from collections.abc import Mapping
from typing import Any

from deploy.rehearsal.shapes import is_free
from shared.klaviyo.resources import OMNEO_TRIGGERS

LEFT_OUT = "..."
_FIELD = re.compile(r"[$_]?[a-z]+[0-9]?(?:[_-][a-z]+[0-9]{0,2})*|[a-z]+(?:[A-Z][a-z]+)+")
_LONGEST_FIELD = 60
_PARAMETER = re.compile(
    r"(?:page|filter|fields|additional-fields|identity)(?:\[[a-z_.-]{1,40}\]){0,2}|include|sort|search"
)
_TYPE = re.compile(r"[a-z]+(?:-[a-z]+){0,6}")
_CODE = re.compile(r"[a-z]+(?:_[a-z]+){0,6}")
_TOPIC = re.compile(r"event:klaviyo\.[a-z]+(?:_[a-z]+)*")
_SCOPES = re.compile(r"\*|[a-z]+(?:-[a-z]+)*:(?:read|write|full)(?: [a-z]+(?:-[a-z]+)*:(?:read|write|full))*")
_MODEL = re.compile(r"\[App\\Models\\[A-Z][A-Za-z]{1,40}\]")  # Laravel's name of a missing object
_CONSENTS = re.compile("SUBSCRIBED|UNSUBSCRIBED|NEVER_SUBSCRIBED")
_REASONS = re.compile(
    "HARD_BOUNCE|SOFT_BOUNCE|INVALID_EMAIL|SPAM_COMPLAINT|SPAM_REPORT|UNSUBSCRIBE|USER_SUPPRESSED"
)
# Names under which the services say a word of a list of theirs, and the words, as far as they are known.
_ENUMERATIONS = {
    "consent": _CONSENTS,
    "reason": _REASONS,
    "method": re.compile("API|BACK_IN_STOCK|CHECKOUT|FORM|IMPORT|PREFERENCE_PAGE|TEXT"),
    "status": re.compile("queued|processing|complete|cancelled|failed"),
    "opt_in_process": re.compile("single_opt_in|double_opt_in"),
    "visibility": re.compile("private|shared"),
    "namespace": re.compile("custom-objects"),
    "object": re.compile("integration"),
    "token_type": re.compile("bearer", re.IGNORECASE),
    "grant_type": re.compile("authorization_code|refresh_token"),
    "token_type_hint": re.compile("refresh_token|access_token"),
    "profile_type": re.compile("temporary|dependant|incomplete|pending|system|active|deleted"),
    "period_type": re.compile("days|weeks|months|years|absolute_[a-z]+"),
    "email_verification": re.compile("not_sent|sent|verified"),
    "sms_verification": re.compile("not_sent|sent|verified"),
    "queue": re.compile("high|default|low"),
    "channel": re.compile("app|email|location|push|sms|social|support|website"),
    "action": re.compile("broadcast|disclose|feedback|product|reach|refer|service|visit|view"),
    "trigger": re.compile("|".join(map(re.escape, OMNEO_TRIGGERS))),
}
_RESOURCE = frozenset({"id", "attributes", "relationships"})
_SENTENCES = frozenset({"title", "detail", "message", "error_description"})
_KNOWN_WORDS = (
    "a above access account action address advanced after again allowed already an and another app are "
    "argument array at attempts attribute attributes authenticated authentication authorization "
    "available bad be been body both bulk but by can cannot challenge client code comms conflict create "
    "created credentials data date datetime days definition deleted description did do does each either "
    "email empty enabled endpoint entitlement error event events exist exists expected expired external "
    "failed field fields filter filterable first for form format found from given grant granted handle "
    "has have header id identifier identifiers identity import in incorrect input integer interaction "
    "invalid is issued it its json kdp last later least list lists longer many may message method "
    "methods metric metrics minute missing model models most must name names namespace new no none not "
    "number object of on one only or our page pair parameter parameters perform permission permitted "
    "phone plan please profile profiles properties property provided query read record records refresh "
    "refused request requested required resource results retired reward rewards route scope scopes "
    "second seconds secret selected send server side something source sources status string such "
    "supported taken target than that the there these this throttled time timestamp title to token too "
    "topic topics trigger type unauthenticated unauthorized unique unknown unsupported url valid value "
    "values version was webhook webhooks went were wide with write wrong you your zone "
)
_SAID = frozenset(_KNOWN_WORDS.split())


def is_field(name: str) -> bool:
    """Return whether a name has the form in which both services name fields."""
    return len(name) <= _LONGEST_FIELD and _FIELD.fullmatch(name) is not None


def is_parameter(name: str) -> bool:
    """Return whether a name has the form of a parameter of a query, such as `page[cursor]`."""
    return _PARAMETER.fullmatch(name) is not None


def is_sentence(name: str, holder: Mapping[str, Any]) -> bool:
    """Return whether a service explains something under this name: beside a code, or where it says nothing else."""
    says = name == "message" or {"code", "error"} & holder.keys()
    return name in _SENTENCES and bool(says)


def is_word(text: str, name: str, holder: Mapping[str, Any]) -> bool:
    """Return whether a text is the service's own word in this place: `holder` is the object, `name` its field."""
    match name:
        case "type":
            return bool(_RESOURCE & holder.keys()) and _TYPE.fullmatch(text) is not None
        case "code":
            return "detail" in holder and _CODE.fullmatch(text) is not None
        case "error":
            return _CODE.fullmatch(text) is not None
        case "id":
            return holder.get("type") == "webhook-topic" and _TOPIC.fullmatch(text) is not None
        case "scope" | "scopes":
            return _SCOPES.fullmatch(text) is not None
        case _:
            form = _ENUMERATIONS.get(name)
            return form is not None and form.fullmatch(text) is not None


def sentence(text: str) -> str:
    """Return a sentence with "..." for every word that is not known to be the service's.

    >>> sentence("A profile with id `01ABC` of Jane Doe does not exist.")
    'A profile with id ... of ... does not exist.'
    """
    shown: list[str] = []
    for word in text.split():
        bare = word.strip("'\"().,:;!")
        is_said = bare.casefold() in _SAID or _SCOPES.fullmatch(bare) or _MODEL.fullmatch(bare)
        said = word if is_said else LEFT_OUT
        if said != LEFT_OUT or not shown or shown[-1] != LEFT_OUT:
            shown.append(said)
    return " ".join(shown)


def place(text: str) -> str:
    """Return where an error says that something is wrong: the names of fields, up to the first that is a customer's own.

    >>> place("/data/attributes/properties/Jane"), place("page[cursor]"), place("jane@example.org")
    ('/data/attributes/properties/...', 'page[cursor]', '...')
    """
    made: list[str] = []
    for part in text.split("/"):
        is_index = part.isdecimal() and part.isascii() and len(part) < 6
        if (made and is_free(made[-1], {})) or not (
            not part or is_index or is_field(part) or is_parameter(part)
        ):
            made.append(LEFT_OUT)
            break
        made.append(part)
    return "/".join(made)
