"""The known successes of Klaviyo's API, held against the models of its official client."""

from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from deploy.rehearsal.answers import RecordedAnswer, read_answers

KNOWN = read_answers(Path(__file__).parent / "known")
# By operation: the module of the model.
MODELS = {
    "GET /api/accounts": "get_account_response_collection",
    "GET /api/webhook-topics": "get_webhook_topic_response_collection",
    "GET /api/webhooks": "get_webhook_response_collection_compound_document",
    "POST /api/webhooks": "post_webhook_response",
    "PATCH /api/webhooks/{id}": "patch_webhook_response",
    "POST /api/profile-import": "post_profile_response",
    "POST /api/profiles": "post_profile_response",
    "POST /api/profile-merge": "post_profile_merge_response",
    "GET /api/profiles/{id}": "get_profile_response_plural_conversations_compound_document",
    "GET /api/profiles": "get_profile_response_plural_conversations_collection_compound_document",
    "GET /api/lists": "get_list_list_response_collection_compound_document",
    "POST /api/lists": "post_list_create_response",
    "GET /api/lists/{id}": "get_list_retrieve_response_compound_document",
    "GET /api/lists/{id}/profiles": "get_list_member_response_collection",
    "GET /api/metrics": "get_metric_response_collection_compound_document",
    "GET /api/events": "get_event_response_collection_compound_document",
    "GET /api/data-sources": "get_data_source_response_collection",
    "POST /api/data-sources": "post_data_source_response",
    "POST /api/profile-bulk-import-jobs": "post_profile_import_job_response",
    "GET /api/profile-bulk-import-jobs/{id}": "get_profile_import_job_response_compound_document",
    "GET /api/profile-bulk-import-jobs/{id}/import-errors": "get_import_error_response_collection",
    "POST /api/profile-suppression-bulk-create-jobs": "post_bulk_profile_suppressions_create_job_response",
}
# Klaviyo has been seen to send them, and does not declare them everywhere: a topic's empty attributes among them.
UNDECLARED = {"anonymous_id", "whatsapp_bsuid", "click_tracking", "conversations", "attributes"}

SUCCESSES = [
    answer
    for answer in KNOWN
    if answer.service == "Klaviyo" and answer.status < 300 and answer.body and answer.path.startswith("/api/")
]


@pytest.mark.parametrize("answer", SUCCESSES, ids=lambda answer: answer.file)
def test_klaviyos_own_model_accepts_a_known_success(answer: RecordedAnswer) -> None:
    module = MODELS[answer.operation]
    name = "".join(word.capitalize() for word in module.split("_"))
    model: type[BaseModel] = getattr(import_module(f"openapi_client.models.{module}"), name)
    assert strangers(model, answer.body) <= UNDECLARED


def strangers(model: type[BaseModel], body: object) -> set[str]:
    """Return the names of fields that the model does not know; anything else that it does not accept is wrong."""
    try:
        model.model_validate(body, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as refused:
        errors = refused.errors()
        if any(error["type"] != "extra_forbidden" for error in errors):
            raise
        return {str(error["loc"][-1]) for error in errors}
    return set()
