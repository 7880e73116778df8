"""The calls that no secret opens: the steps of a merchant's browser through an install, and openapi.json itself."""

from collections.abc import Mapping

from deploy.openapi.examples import A_STEP
from deploy.openapi.operations import (
    ANY_OBJECT,
    FORM,
    HTML,
    TEXT,
    Answer,
    Body,
    Operation,
    Parameter,
    a_list,
    an_object,
    one_of,
)
from deploy.openapi.schemas import STEP

TO_KLAVIYO = Answer(
    "On to Klaviyo's consent page.",
    media="",
    headers={"Location": "Klaviyo's address", "Set-Cookie": "binds the browser"},
)
# Each refusal is a page with the reason and the remedy.
PAGES: Mapping[int, Answer] = {
    400: Answer("A page that says why the install stops here.", media=HTML),
    401: Answer(
        "A page: who is asking is not known, by key or by the page that the form came from.", media=HTML
    ),
    410: Answer("A page: the link or the attempt is spent or too old.", media=HTML),
    500: Answer("A page: something went wrong on our side.", media=HTML),
    503: Answer("A page: try again in a minute.", media=HTML),
}
INSTALL_FORM = {
    "type": "object",
    "properties": {"tenant": TEXT, "installation_key": TEXT, "link": TEXT},
}

OF = Parameter("of", "Which of the browser's attempts; without it, the newest that there is.", TEXT)
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/openapi.json"): Operation(
        "This document",
        {
            200: Answer(
                "OpenAPI 3.1.",
                an_object({"openapi": TEXT, "paths": ANY_OBJECT}),
                {"openapi": "3.1.0", "paths": {}},
            )
        },
        errors=(405, 413, 500),
    ),
    ("GET", "/klaviyo/install"): Operation(
        "The page on which an install begins",
        {200: Answer("A form.", media=HTML), **PAGES},
        parameters=(Parameter("link", "An install link, in place of the form's fields.", TEXT),),
        errors=(405,),
    ),
    ("POST", "/klaviyo/install"): Operation(
        "Begin an install",
        {302: TO_KLAVIYO, **PAGES},
        body=Body(
            INSTALL_FORM,
            {"by key": {"tenant": "acme", "installation_key": "the-key"}, "by link": {"link": "eyJ0"}},
            media=FORM,
        ),
        errors=(405,),
        description="The form must come from our own page: Origin is checked.",
    ),
    ("GET", "/klaviyo/callback"): Operation(
        "Klaviyo sends the merchant's browser back here",
        {200: Answer("Connected, or a question first.", media=HTML), **PAGES},
        parameters=(
            Parameter("state", "Ours; it works once, in the browser that began.", TEXT),
            Parameter("code", "Klaviyo's.", TEXT),
            Parameter("error", "Klaviyo's reason to refuse.", TEXT),
        ),
        errors=(405,),
    ),
    ("POST", "/klaviyo/confirm"): Operation(
        "Answer whether this account and this tenant are to be joined",
        {200: Answer("Connected.", media=HTML), **PAGES},
        body=Body(
            {
                "type": "object",
                "properties": {"confirmation": TEXT, "decision": one_of(("connect", "cancel"))},
            },
            {"yes": {"confirmation": "Zk3", "decision": "connect"}},
            media=FORM,
        ),
        errors=(405,),
    ),
    ("GET", "/klaviyo/confirm"): Operation(
        "Show the open question again",
        {200: Answer("The question.", media=HTML), **PAGES},
        parameters=(Parameter("confirmation", "The word of the question.", TEXT),),
        errors=(405,),
    ),
    ("GET", "/klaviyo/done"): Operation(
        "Show again what this browser has connected",
        {200: Answer("Connected.", media=HTML), **PAGES},
        parameters=(OF,),
        errors=(405,),
    ),
    ("GET", "/klaviyo/progress"): Operation(
        "How far the set-up is that this browser began",
        {
            200: Answer("The steps.", an_object({"steps": a_list(STEP)}), {"steps": [A_STEP]}),
            **PAGES,
        },
        parameters=(OF,),
        errors=(405,),
    ),
}
