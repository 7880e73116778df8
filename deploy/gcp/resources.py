"""The plan as data: every resource that deployment makes, with its final settings, under the name that Terraform has for its type.

It reads the same files as the scripts, so that it lists exactly their changes. It contains no value of a secret.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.gcp import costs, front, naming
from deploy.gcp.naming import Place
from deploy.gcp.tables import rows_in
from deploy.staging import load_functions

Resource = dict[str, Any]

_IAM_TYPES = {
    "project": "google_project_iam_member",
    "tasks": "google_service_account_iam_member",
    "secret": "google_secret_manager_secret_iam_member",
    "worker": "google_cloud_run_v2_service_iam_member",
}


def listed(work: Path, place: Place) -> list[Resource]:
    """Return every resource, in the order in which they can be made.

    Reads the files that `plan` and `revisions` have written.
    """
    return [
        *_project(work),
        *_data(work, place),
        *_services(work),
        *_access(work),
        *_balancer(work, place),
        *_schedules(work, place),
        *_watching(work),
        *_costs(),
    ]


def _resource(type: str, name: str, /, **settings: Any) -> Resource:
    return {"type": type, "name": name, "settings": settings}


def _project(work: Path) -> Iterator[Resource]:
    for (api,) in rows_in(work / "apis"):
        yield _resource("google_project_service", api)
    for name, email, what in rows_in(work / "accounts"):
        yield _resource("google_service_account", name, email=email, display_name=what)
    for name, variable in rows_in(work / "secrets"):
        yield _resource(
            "google_secret_manager_secret",
            name,
            variable=variable,
            replication="automatic",
            labels={"made_by": naming.MADE_BY},
        )


def _data(work: Path, place: Place) -> Iterator[Resource]:
    yield _resource(
        "google_firestore_database",
        "(default)",
        location=place.region,
        type="FIRESTORE_NATIVE",
        delete_protection=True,
        point_in_time_recovery=True,
    )
    yield _resource("google_firestore_backup_schedule", "daily", database="(default)", retention="14d")
    for (group,) in rows_in(work / "expiring"):
        yield _resource("google_firestore_field", f"{group}.expire_at", ttl=True)
    for group, field in rows_in(work / "never-searched"):
        yield _resource("google_firestore_field", f"{group}.{field}", indexes=[])


def _services(work: Path) -> Iterator[Resource]:
    images = json.loads((work / "image-policies.json").read_text())
    yield _resource("google_artifact_registry_repository", "cloud-run-source-deploy", cleanup_policies=images)
    for row in rows_in(work / "revisions"):
        (
            _,
            name,
            entry,
            account,
            memory,
            cpu,
            concurrency,
            timeout,
            least,
            most,
            audience,
            _,
            secrets,
            _,
            image,
        ) = row
        yield _resource(
            "google_cloud_run_v2_service",
            name,
            function=entry,
            base_image=image,
            service_account=account,
            memory=memory,
            cpu=cpu,
            concurrency=int(concurrency),
            timeout_seconds=int(timeout),
            min_instances=int(least),
            max_instances=int(most),
            ingress="internal-and-cloud-load-balancing" if audience == "public" else "internal",
            invoker_iam_check=audience != "public",
            variables=yaml.safe_load((work / f"variables-{name}.yaml").read_text()),
            secrets=dict(pair.split("=", 1) for pair in secrets.split(",") if "=" in pair),
        )


def _access(work: Path) -> Iterator[Resource]:
    for path in sorted(work.glob("access-*.json")):
        kind, _, name = path.stem.removeprefix("access-").partition("-")
        for role, members in json.loads(path.read_text()).items():
            yield _resource(_IAM_TYPES[kind], name or kind, role=role, members=members)


def _balancer(work: Path, place: Place) -> Iterator[Resource]:
    yield _resource(
        "google_compute_global_address", "extension", ip_version="IPV4", description=naming.MADE_BY
    )
    for limit, name, _ in rows_in(work / "policies"):
        yield _resource("google_compute_security_policy", name, **_described(work / f"policy-{limit}.json"))
    for name, _, policy in rows_in(work / "backends"):
        yield _resource("google_compute_region_network_endpoint_group", name, cloud_run_service=name)
        attached = {} if policy == "-" else {"securityPolicy": policy}
        yield _resource(
            "google_compute_backend_service", name, **_described(work / f"backend-{name}.json"), **attached
        )
    for file, name, _ in rows_in(work / "maps"):
        yield _resource("google_compute_url_map", name, **_described(work / f"{file}.json"))
    ((certificate,),) = rows_in(work / "certificate")
    yield _resource("google_certificate_manager_dns_authorization", certificate, domain=place.domain)
    yield _resource(
        "google_certificate_manager_certificate",
        certificate,
        managed={"domains": [place.domain], "dns_authorizations": [certificate]},
    )
    yield _resource("google_certificate_manager_certificate_map", "extension")
    yield _resource(
        "google_certificate_manager_certificate_map_entry",
        certificate,
        map="extension",
        hostname=place.domain,
        certificates=[certificate],
    )
    # Made if a zone of the project holds the name. Google gives their values once their targets exist.
    yield _resource(
        "google_dns_record_set", f"{place.domain}.", type="A", ttl=front.TTL, rrdatas=["extension"]
    )
    yield _resource(
        "google_dns_record_set",
        f"_acme-challenge.{place.domain}.",
        type="CNAME",
        ttl=front.TTL,
        rrdatas=[certificate],
    )
    yield _resource(
        "google_compute_ssl_policy",
        "extension",
        profile="MODERN",
        min_tls_version="TLS_1_2",
        description=naming.MADE_BY,
    )
    yield _resource(
        "google_compute_target_https_proxy", "extension", url_map="extension", certificate_map="extension"
    )
    yield _resource("google_compute_target_http_proxy", "extension-redirect", url_map="extension-redirect")
    yield _resource("google_compute_global_forwarding_rule", "extension", port=443, target="extension")
    yield _resource(
        "google_compute_global_forwarding_rule", "extension-redirect", port=80, target="extension-redirect"
    )


def _schedules(work: Path, place: Place) -> Iterator[Resource]:
    for name, cron, uri, audience, body, _, retries in rows_in(work / "schedules"):
        yield _resource(
            "google_cloud_scheduler_job",
            name,
            schedule=cron,
            uri=uri,
            audience=audience,
            body=json.loads(body),
            retries=int(retries),
            service_account=place.email("schedule-caller"),
        )
    yield _resource("google_cloud_tasks_queue", "smoke", max_attempts=1)


def _watching(work: Path) -> Iterator[Resource]:
    for name, _ in rows_in(work / "metrics"):
        yield _resource("google_logging_metric", name, **_described(work / f"metric-{name}.json"))
    for name, _ in rows_in(work / "alerts"):
        yield _resource("google_monitoring_alert_policy", name, **_described(work / f"alert-{name}.json"))
    for row in rows_in(work / "uptime-checks"):
        host, path, statuses, period, timeout, regions, _ = row
        yield _resource(
            "google_monitoring_uptime_check_config",
            host,
            host=host,
            path=path,
            use_ssl=True,
            validate_ssl=True,
            accepted_response_status_codes=[int(statuses)],
            period=f"{int(period) * 60}s",
            timeout=f"{timeout}s",
            selected_regions=regions.split(","),
        )
    yield _resource("google_monitoring_dashboard", "extension", **_described(work / "dashboard.json"))


def _costs() -> Iterator[Resource]:
    known, functions = costs.load(), load_functions()
    told = costs.listed(known, functions, costs.ceiling(known, os.environ))
    yield _resource("costs", "dollars", **told)  # no resource: the cost of those above


def _described(path: Path) -> Resource:
    """Return the content of a file, without the parts that only the next run needs."""
    return {
        key: value
        for key, value in json.loads(path.read_text()).items()
        if key not in {"name", "description", "labels", "userLabels"}
    }
