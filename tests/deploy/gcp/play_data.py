"""Plays Firestore's administration and Secret Manager."""

import base64
from typing import Any

from tests.deploy.gcp.cloud import (
    Cloud,
    RefusedError,
    Request,
    Thing,
    iam_policy,
    keeps,
    plays,
    set_iam_policy,
)

_DATABASES = "/v1/projects/{project}/databases"

keeps("secretmanager", "/v1/projects/{project}/secrets", "secret", "secrets")


@plays("firestore", "GET", _DATABASES)
def databases(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"databases": cloud.under("database")}


@plays("firestore", "POST", _DATABASES)
def create_database(cloud: Cloud, request: Request, project: str) -> Thing:
    id = request.query["databaseId"]
    # "Manage databases": the id of a deleted database cannot be used for five minutes.
    cloud.check_known(
        f"gone:database/{id}",
        300,
        f"Database ID '{id}' is not available in project '{project}'. Please retry in 300 seconds.",
        400,
    )
    name = f"projects/{cloud.project}/databases/{id}"
    database = cloud.create(f"database/{id}", {"name": name, "etag": "IAE=", **request.json})
    return {"name": f"{name}/operations/{cloud.tick()}", "done": True, "response": database}


@plays("firestore", "PATCH", f"{_DATABASES}/{{id}}")
def update_database(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    database = cloud.get(f"database/{id}")
    database |= {key: request.json[key] for key in request.query["updateMask"].split(",")}
    return {"name": f"{database['name']}/operations/{cloud.tick()}", "done": True, "response": database}


@plays("firestore", "DELETE", f"{_DATABASES}/{{id}}")
def delete_database(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    database = cloud.get(f"database/{id}")
    if database.get("deleteProtectionState") == "DELETE_PROTECTION_ENABLED":
        raise RefusedError(400, "Delete protection is on.")
    cloud.delete(f"database/{id}")
    cloud.made_at[f"gone:database/{id}"] = cloud.seconds
    for name in [name for name in cloud.things if name.startswith(f"backups/{id}/")]:
        del cloud.things[name]
    return {"name": f"{database['name']}/operations/{cloud.tick()}", "done": True, "response": database}


@plays("firestore", "GET", f"{_DATABASES}/{{id}}/collectionGroups/-/fields")
def fields(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"database/{id}")
    kept = [thing for name, thing in cloud.things.items() if name.startswith(f"database/{id}/")]
    if request.query["filter"] == "ttlConfig:*":
        return {"fields": [field for field in kept if "ttlConfig" in field]}
    if request.query["filter"] == "indexConfig.usesAncestorConfig:false":
        return {"fields": [field for field in kept if "indexConfig" in field]}
    raise RefusedError(400, "Only two filters are supported.")


@plays("firestore", "GET", f"{_DATABASES}/{{id}}/backupSchedules")
def backup_schedules(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"database/{id}")
    return {"backupSchedules": cloud.under(f"backups/{id}")}


@plays("firestore", "POST", f"{_DATABASES}/{{id}}/backupSchedules")
def create_backup_schedule(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    _check_made(cloud, id)
    if int(request.json["retention"].rstrip("s")) > 14 * 7 * 86400:
        raise RefusedError(400, "A backup is kept for 14 weeks at most.")
    name = f"projects/{cloud.project}/databases/{id}/backupSchedules/{cloud.tick()}"
    return cloud.create(f"backups/{id}/{cloud.clock}", {"name": name, **request.json})


# gcloud does not wait for a database that it creates (command "firestore databases create", without an operation poller).
def _check_made(cloud: Cloud, id: str) -> None:
    cloud.get(f"database/{id}")
    cloud.check_known(
        f"database/{id}", 90, f"The database {id} does not exist for project {cloud.project}", 404
    )


@plays("firestore", "PATCH", f"{_DATABASES}/{{id}}/collectionGroups/{{group}}/fields/{{field}}")
def update_field(cloud: Cloud, request: Request, project: str, id: str, group: str, field: str) -> Thing:
    _check_made(cloud, id)
    name = f"projects/{cloud.project}/databases/{id}/collectionGroups/{group}/fields/{field}"
    kept = cloud.things.setdefault(f"database/{id}/{group}/{field}", {"name": name})
    mask = request.query["updateMask"]
    if mask not in {"ttlConfig", "indexConfig"}:
        raise RefusedError(400, "The mask must name ttlConfig or indexConfig.")
    kept[mask] = request.json.get(mask, {}) | ({"state": "CREATING"} if mask == "ttlConfig" else {})
    return {"name": f"projects/{cloud.project}/databases/{id}/operations/{cloud.tick()}", "metadata": {}}


@plays("firestore", "GET", "/v1/projects/{project}/locations/{region}/backups")
def backups(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    return {"backups": cloud.under("backup")}


@plays("firestore", "DELETE", "/v1/projects/{project}/locations/{region}/backups/{id}")
def delete_backup(cloud: Cloud, request: Request, project: str, region: str, id: str) -> None:
    cloud.delete(f"backup/{id}")


@plays("secretmanager", "POST", "/v1/projects/{project}/secrets")
def create_secret(cloud: Cloud, request: Request, project: str) -> Thing:
    id = request.query["secretId"]
    return cloud.create(f"secret/{id}", {"name": f"projects/{cloud.number}/secrets/{id}", **request.json})


@plays("secretmanager", "POST", "/v1/projects/{project}/secrets/{id}:addVersion")
def add_version(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"secret/{id}")
    number = len(cloud.under(f"secret/{id}")) + 1
    value = base64.b64decode(request.json["payload"]["data"]).decode()
    name = f"projects/{cloud.number}/secrets/{id}/versions/{number}"
    version = {
        "name": name,
        "state": "ENABLED",
        "canary": value,
        "createTime": f"2026-11-26T00:00:{number:02d}Z",
    }
    return cloud.create(f"secret/{id}/{number}", version) | {
        "canary": "",
        "clientSpecifiedPayloadChecksum": True,
    }


@plays("secretmanager", "GET", "/v1/projects/{project}/secrets/{id}/versions")
def versions(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"secret/{id}")
    states = {"ENABLED"} if request.query.get("filter") == "state:ENABLED" else {"ENABLED", "DESTROYED"}
    kept = [version for version in reversed(cloud.under(f"secret/{id}")) if version["state"] in states]
    return {"versions": [_shown(version) for version in kept]}


@plays("secretmanager", "POST", "/v1/projects/{project}/secrets/{id}/versions/{version}:destroy")
def destroy_version(cloud: Cloud, request: Request, project: str, id: str, version: str) -> Thing:
    found = cloud.get(f"secret/{id}/{version}")
    found |= {"state": "DESTROYED", "canary": ""}
    return _shown(found)


@plays("secretmanager", "GET", "/v1/projects/{project}/secrets/{id}/versions/{version}:access")
def access(cloud: Cloud, request: Request, project: str, id: str, version: str) -> Thing:
    found = cloud.under(f"secret/{id}")[-1] if version == "latest" else cloud.get(f"secret/{id}/{version}")
    data = base64.b64encode(found["canary"].encode()).decode()
    return {"name": found["name"], "payload": {"data": data}}


@plays("secretmanager", "GET", "/v1/projects/{project}/secrets/{id}:getIamPolicy")
def secret_policy(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"secret/{id}")
    return iam_policy(cloud, f"secret/{id}")


@plays("secretmanager", "POST", "/v1/projects/{project}/secrets/{id}:setIamPolicy")
def set_secret_policy(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"secret/{id}")
    return set_iam_policy(cloud, f"secret/{id}", request)


def _shown(version: dict[str, Any]) -> Thing:
    return {key: value for key, value in version.items() if key != "canary"}
