"""An example of each thing that CX Manager's calls answer; a test holds it to its schema."""

from deploy.openapi.operations import (
    Json,
)

A_STEP: Json = {"name": "webhook", "title": "The webhook in Klaviyo", "state": "done", "reason": ""}
A_SECRET: Json = {"id": "3f9a1c20", "created_at": "2026-11-21T10:00:00+00:00", "last_used_at": None}
SETTINGS_SHOWN: Json = {
    "namespace": "klaviyo",
    "task_queue_name": "acme",
    "identity_handle": "klaviyo",
    "default_region": None,
    "timezone": "Australia/Melbourne",
    "master_list_id": None,
    "profile_exclude_logic": None,
    "mappings": {"company": "organization"},
    "email_consent_unset": "subscribe",
    "sms_consent_unset": "subscribe",
    "sms_transactional": False,
    "on_profile_deleted": "suppress",
    "reward_max_amount": None,
    "reward_max_per_hour": None,
    "dead_job_days": 30,
    "notify_url": None,
    "receipt_days": 0,
    "webhook_secrets": [A_SECRET],
    "omneo_signing_secrets": [A_SECRET],
    "omneo_token": "set",
    "account": {"timezone": "Australia/Melbourne", "country": "Australia"},
}
A_RUN: Json = {
    "id": "0d9f3f3c9e0b4d0a8a39b1a0a3f0c5d1",
    "kind": "resync",
    "state": "running",
    "reason": None,
    "since": None,
    "only_consent": False,
    "dry_run": False,
    "undated_opt_ins": "leave",
    "started_at": "2026-11-21T10:00:00+00:00",
    "finished_at": None,
    "read": 1200,
    "total": 50000,
    "profiles_per_minute": 600,
    "seconds_left": 4880,
    "imports_waiting": 1,
    "counts": {"sent": 1100},
    "failures": {},
}
A_STATUS: Json = {
    "tenant": "acme",
    "checked_at": "2026-11-21T10:00:00+00:00",
    "state": "ok",
    "klaviyo": {
        "connected": True,
        "account_id": "AcmeAc",
        "account_name": "Acme",
        "connected_at": "2026-11-20T09:00:00+00:00",
    },
    "findings": [
        {
            "check": "klaviyo",
            "severity": "ok",
            "message": "The account is connected.",
            "repair": "",
            "safe": False,
        }
    ],
    "steps": [A_STEP],
    "queues": {
        "inbound": {
            "name": "acme-klaviyo-inbound",
            "exists": True,
            "paused": False,
            "depth": 0,
            "oldest": None,
        }
    },
    "dead_jobs": 0,
    "webhook_secrets": [A_SECRET],
    "left_behind": [],
    "run": None,
}
_NONE: Json = {"count": 0, "last_at": None}
_SEEN: Json = {"count": 1200, "last_at": "2026-11-21T09:59:58+00:00"}
_REFUSED_AT = "2026-11-21T09:30:00+00:00"
A_TRAFFIC: Json = {
    "tenant": "acme",
    "since": "2026-11-20T10:00:00+00:00",
    "until": "2026-11-21T10:00:00+00:00",
    "targets": [
        {
            "target": "metric",
            "metric": "Reward Issued",
            "accepted": _SEEN,
            "refused": {
                "count": 1,
                "last_at": _REFUSED_AT,
                "reasons": [
                    {
                        "reason": "400, attributes.profile must be an object",
                        "count": 1,
                        "last_at": _REFUSED_AT,
                    }
                ],
            },
            "delivered": _SEEN,
            "waiting": _NONE,
            "dead": _NONE,
            "times": [
                {
                    "at": "2026-11-21T09:00:00+00:00",
                    "accepted": 1200,
                    "refused": 1,
                    "delivered": 1200,
                    "waiting": 0,
                    "dead": 0,
                }
            ],
        }
    ],
}
A_JOB: Json = {
    "id": "0d9f3f3c9e0b4d0a8a39b1a0a3f0c5d1",
    "kind": "send-metric",
    "state": "waiting",
    "at": "2026-11-21T10:00:00+00:00",
    "metric": "Reward Issued",
    "attempts": 1,
    "why": "Klaviyo answered 429",
    "next_try_at": "2026-11-21T10:00:30+00:00",
}
AN_EXPLANATION: Json = {
    "profile_id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01",
    "revealed": False,
    "matched": {
        "by": "stored_identity",
        "klaviyo_id": "01HX5N0V6ZJ0QK8H2T9A4R7B3C",
        "why": "Omneo holds its id.",
    },
    "synced_before": None,
    "excluded": {"reason": None, "why": None, "trace": []},
    "would_send": {"type": "profile", "attributes": {"first_name": "J***"}},
    "notes": [],
    "consent": [
        {
            "consent": "email",
            "outcome": "leave",
            "reason": "agrees",
            "why": "Nothing would be asked of Klaviyo. Both sides agree.",
        }
    ],
    "open_jobs": [],
    "events": [],
    "rewards": [],
    "ledger": [],
}


A_RECEIPT: Json = {
    "status": "erased",
    "erased_at": "2026-11-21T10:00:00+00:00",
    "removed": {
        "inbox": 3,
        "dead_jobs": 1,
        "backlog": 0,
        "consent": 1,
        "synced": 1,
        "waiting": 0,
        "rewards": 2,
    },
    "asked_of_klaviyo": 0,
    "lives_in_omneo": False,
    "stays": ["The consent ledger keeps its records for three years."],
}
