"""Plays Cloud Tasks, and the request log of what its tasks called."""

import re

from tests.deploy.gcp.cloud import Cloud, RefusedError, Request, Thing, holds, plays

_QUEUES = "/v2/projects/{project}/locations/{region}/queues"


@plays("cloudtasks", "GET", _QUEUES)
def queues(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    return {"queues": cloud.under("queue")}


@plays("cloudtasks", "POST", _QUEUES)
def create_queue(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    queue = request.json
    id = queue["name"].rpartition("/")[2]
    cloud.check_known(
        f"gone:queue/{id}",
        7 * 86400,
        "The queue cannot be created because a queue with this name existed too recently.",
        400,
    )
    return cloud.create(f"queue/{id}", {**queue, "state": "RUNNING"})


@plays("cloudtasks", "PATCH", f"{_QUEUES}/{{id}}")
def update_queue(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    queue = cloud.get(f"queue/{id}")
    for path in request.query["updateMask"].split(","):
        part, _, key = path.partition(".")
        queue.setdefault(part, {})[key] = request.json[part][key]
    return queue


@plays("cloudtasks", "DELETE", f"{_QUEUES}/{{id}}")
def delete_queue(cloud: Cloud, request: Request, project: str, region: str, id: str) -> None:
    cloud.delete(f"queue/{id}")
    cloud.made_at[f"gone:queue/{id}"] = cloud.seconds


@plays("cloudtasks", "POST", f"{_QUEUES}/{{id}}/tasks")
def create_task(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    """Run the task at once: the revision that the URL's tag leads to writes what it answered into the request log."""
    cloud.get(f"queue/{id}")
    call = request.json["task"]["httpRequest"]
    found = re.fullmatch(r"https://(\w+)---([a-z-]+)-\d+\.[a-z0-9-]+\.run\.app/.*", call["url"])
    if found is None:
        raise RefusedError(400, "the recorder runs only tasks to tagged revisions")
    tag, name = found.groups()
    service = cloud.get(f"service/{name}")
    rows = [row for row in service["status"]["traffic"] if row.get("tag") == tag]
    if not rows or "revisionName" not in rows[0]:
        raise RefusedError(400, f"{name} has no tag {tag}")
    status = _status(cloud, name, service, call["oidcToken"]["serviceAccountEmail"])
    entry = {
        "insertId": str(cloud.tick()),
        "logName": f"projects/{project}/logs/run.googleapis.com%2Frequests",
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"service_name": name, "revision_name": rows[0]["revisionName"]},
        },
        "httpRequest": {"requestMethod": call["httpMethod"], "requestUrl": call["url"], "status": status},
        "timestamp": "2026-11-26T00:00:00Z",
    }
    cloud.things[f"log/{cloud.clock}"] = entry
    return {"name": f"projects/{project}/locations/{region}/queues/{id}/tasks/{cloud.clock}"}


def _status(cloud: Cloud, name: str, service: Thing, account: str) -> int:
    is_open = (
        service["metadata"]["annotations"].get("run.googleapis.com/invoker-iam-disabled", "").lower()
        == "true"
    )
    if not is_open and not holds(cloud, f"service/{name}", "roles/run.invoker", f"serviceAccount:{account}"):
        return 403
    return cloud.smoke_status(name)


@plays("logging", "POST", "/v2/entries:list")
def entries(cloud: Cloud, request: Request) -> Thing:
    wanted = request.json["filter"]
    if called := re.search(
        r'resource\.type="http_load_balancer" AND .*requestUrl:"https://([^/]+)/"', wanted
    ):
        return {"entries": [{"insertId": "1"}] if called[1] in cloud.called_under else []}
    found = re.search(
        r'log_id\("run\.googleapis\.com/requests"\) AND resource\.labels\.revision_name=\(([^)]+)\)', wanted
    )
    if found is None:
        raise RefusedError(400, "the recorder looks for answers of revisions only")
    revisions = re.findall(r'"([^"]+)"', found[1])
    logged = [
        entry for entry in cloud.under("log") if entry["resource"]["labels"]["revision_name"] in revisions
    ]
    return {"entries": list(reversed(logged))}
