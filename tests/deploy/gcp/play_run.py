"""Plays Cloud Run, the builds it starts, and where sources and images are kept."""

import io
import re
import zipfile
from typing import Any

from tests.deploy.gcp.cloud import (
    Cloud,
    RefusedError,
    Request,
    Thing,
    holds,
    iam_policy,
    keeps,
    plays,
    set_iam_policy,
)

_SERVICES = "/apis/serving.knative.dev/v1/namespaces/{project}/services"
_UNREADY = "Revision '{}' is not ready and cannot serve traffic. The user-provided container failed to start and listen on its port."
_LOCATION = "cloud.googleapis.com/location"
_REPOSITORIES = "/v1/projects/{project}/locations/{region}/repositories"

keeps("artifactregistry", _REPOSITORIES, "repository", "repositories", deletes=False)


@plays("artifactregistry", "POST", _REPOSITORIES)
def create_repository(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    id = request.query["repositoryId"]
    name = f"projects/{project}/locations/{region}/repositories/{id}"
    made = cloud.create(f"repository/{id}", {"name": name, **request.json})
    return {
        "name": f"projects/{project}/locations/{region}/operations/{cloud.tick()}",
        "done": True,
        "response": made,
    }


@plays("artifactregistry", "PATCH", f"{_REPOSITORIES}/{{id}}")
def update_repository(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    found = cloud.get(f"repository/{id}")
    found |= request.json
    return found


@plays("artifactregistry", "DELETE", f"{_REPOSITORIES}/{{id}}")
def delete_repository(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    cloud.delete(f"repository/{id}")
    return {
        "name": f"projects/{project}/locations/{region}/operations/{cloud.tick()}",
        "done": True,
        "response": {},
    }


@plays("artifactregistry", "GET", f"{_REPOSITORIES}/{{id}}/packages")
def packages(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    cloud.get(f"repository/{id}")
    return {"packages": cloud.under(f"repository/{id}")}


@plays("artifactregistry", "DELETE", f"{_REPOSITORIES}/{{id}}/packages/{{name}}")
def delete_package(cloud: Cloud, request: Request, project: str, region: str, id: str, name: str) -> Thing:
    cloud.delete(f"repository/{id}/{name}")
    return {
        "name": f"projects/{project}/locations/{region}/operations/{cloud.tick()}",
        "done": True,
        "response": {},
    }


@plays("storage", "GET", "/storage/v1/b")
def buckets(cloud: Cloud, request: Request) -> Thing:
    prefix = request.query.get("prefix", "")
    return {"items": [bucket for bucket in cloud.under("bucket") if bucket["name"].startswith(prefix)]}


@plays("storage", "POST", "/storage/v1/b")
def create_bucket(cloud: Cloud, request: Request) -> Thing:
    name = request.json["name"]
    return cloud.create(f"bucket/{name}", {"id": name, "projectNumber": cloud.number, **request.json})


@plays("storage", "GET", "/storage/v1/b/{name}")
def bucket(cloud: Cloud, request: Request, name: str) -> Thing:
    return cloud.get(f"bucket/{name}")


@plays("storage", "GET", "/storage/v1/b/{name}/storageLayout")
def layout(cloud: Cloud, request: Request, name: str) -> Thing:
    cloud.get(f"bucket/{name}")
    return {"bucket": name, "locationType": "region", "hierarchicalNamespace": {"enabled": False}}


@plays("storage", "GET", "/storage/v1/b/{name}/managedFolders")
def folders(cloud: Cloud, request: Request, name: str) -> Thing:
    return {"kind": "storage#managedFolders"}


@plays("storage", "PATCH", "/storage/v1/b/{name}")
def update_bucket(cloud: Cloud, request: Request, name: str) -> Thing:
    found = cloud.get(f"bucket/{name}")
    found |= request.json
    return found


@plays("storage", "DELETE", "/storage/v1/b/{name}")
def delete_bucket(cloud: Cloud, request: Request, name: str) -> None:
    if cloud.under(f"bucket/{name}"):
        raise RefusedError(409, "The bucket you tried to delete is not empty.")
    cloud.delete(f"bucket/{name}")


@plays("storage", "GET", "/storage/v1/b/{name}/o")
def objects(cloud: Cloud, request: Request, name: str) -> Thing:
    """List objects by prefix; with a delimiter, what comes after it as one prefix."""
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    kept, folders = [], set()
    for thing in cloud.under(f"bucket/{name}"):
        rest = thing["name"].removeprefix(prefix)
        if not thing["name"].startswith(prefix):
            continue
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
        else:
            kept.append({key: value for key, value in thing.items() if key != "files"})
    return {"kind": "storage#objects", "items": kept, "prefixes": sorted(folders)}


@plays("storage", "GET", "/storage/v1/b/{name}/o/{object+}")
def get_object(cloud: Cloud, request: Request, name: str, object: str) -> Thing:
    found = cloud.get(f"bucket/{name}/{object.replace('/', '|')}")
    return {key: value for key, value in found.items() if key != "files"}


@plays("storage", "DELETE", "/storage/v1/b/{name}/o/{object+}")
def delete_object(cloud: Cloud, request: Request, name: str, object: str) -> None:
    cloud.delete(f"bucket/{name}/{object.replace('/', '|')}")


@plays("storage", "POST", "/upload/storage/v1/b/{name}/o")
def upload(cloud: Cloud, request: Request, name: str) -> Thing:
    """Keep what the archive holds; gcloud sends small ones whole, as the second part of a multipart body."""
    cloud.get(f"bucket/{name}")
    archive = _second_part(request.body)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        files = {entry: opened.read(entry) for entry in opened.namelist() if not entry.endswith("/")}
    object = request.query["name"]
    thing = {"bucket": name, "name": object, "generation": str(cloud.tick()), "size": str(len(archive))}
    cloud.create(f"bucket/{name}/{object.replace('/', '|')}", thing | {"files": files})
    return thing


def _second_part(body: bytes) -> bytes:
    boundary = re.match(rb"--[^\r\n]+", body)
    assert boundary is not None
    part = body.split(boundary[0])[2]
    return (
        re.sub(rb"\A.*?\r?\n\r?\n", b"", part, count=1, flags=re.DOTALL)
        .removesuffix(b"\n")
        .removesuffix(b"\r")
    )


@plays("run", "POST", "/v2/projects/{project}/locations/{region}/builds:submit")
def build(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    wanted = request.json
    source = wanted["storageSource"]
    files = cloud.get(f"bucket/{source['bucket']}/{source['object'].replace('/', '|')}")["files"]
    target = wanted["buildpackBuild"]["functionTarget"]
    account = wanted["serviceAccount"].rpartition("/")[2]
    if not holds(cloud, "project", "roles/run.builder", f"serviceAccount:{account}"):
        raise RefusedError(403, f"{account} may not build")
    if "main.py" not in files or not re.search(rf"\b{target}\b".encode(), files["main.py"]):
        raise RefusedError(400, f"the source has no {target} in main.py")
    id = f"build-{cloud.tick()}"
    _, repository, package = wanted["imageUri"].rsplit("/", 2)
    parent = f"projects/{project}/locations/{region}/repositories/{repository}"
    cloud.things[f"repository/{repository}/{package}"] = {"name": f"{parent}/packages/{package}"}
    cloud.things[f"build/{id}"] = {
        "function": target,
        "files": files,
        "base": wanted["buildpackBuild"]["baseImage"],
    }
    operation = {"name": f"projects/{project}/locations/{region}/operations/{id}", "done": True}
    done = {
        "id": id,
        "name": f"projects/{project}/locations/{region}/builds/{id}",
        "status": "SUCCESS",
        "logUrl": "https://example.test/log",
        "results": {"images": [{"name": wanted["imageUri"], "digest": f"sha256:{cloud.clock:064x}"}]},
    }
    cloud.things[f"operation/{id}"] = {"name": operation["name"], "done": True, "response": done}
    metadata = {
        "@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata",
        "build": done,
    }
    return {
        "buildOperation": operation | {"metadata": metadata, "response": done},
        "baseImageUri": "base@sha256:1",
    }


@plays("cloudbuild", "GET", "/v1/projects/{project}/locations/{region}/operations/{id}")
def build_operation(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    return cloud.get(f"operation/{id}")


@plays("run", "GET", "/v1/projects/{project}/locations/-/services")
@plays("run", "GET", _SERVICES)
def services(cloud: Cloud, request: Request, project: str) -> Thing:
    """List those of a region on its own host, and those of all regions on the other."""
    items = [
        one for one in cloud.under("service") if request.region in {"", one["metadata"]["labels"][_LOCATION]}
    ]
    return {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "items": items}


@plays("run", "GET", f"{_SERVICES}/{{name}}")
def service(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    return cloud.get(f"service/{name}")


@plays("run", "POST", _SERVICES)
def create_service(cloud: Cloud, request: Request, project: str) -> Thing:
    wanted = request.json
    name = f"service/{wanted['metadata']['name']}"
    cloud.create(name, {})
    wanted["metadata"].setdefault("labels", {})[_LOCATION] = request.region
    try:
        return _released(cloud, wanted)
    except RefusedError:
        cloud.delete(name)  # what was refused is not there
        raise


@plays("run", "PUT", f"{_SERVICES}/{{name}}")
def replace_service(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    before = cloud.get(f"service/{name}")
    if request.json["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
        raise RefusedError(409, "Conflict for resource: version mismatch")
    return _released(cloud, request.json)


@plays("run", "DELETE", f"{_SERVICES}/{{name}}")
def delete_service(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    cloud.delete(f"service/{name}")
    return {"kind": "Status", "status": "Success"}


@plays("run", "GET", "/v1/projects/{project}/locations/{region}/services/{name}:getIamPolicy")
def service_policy(cloud: Cloud, request: Request, project: str, region: str, name: str) -> Thing:
    cloud.get(f"service/{name}")
    return iam_policy(cloud, f"service/{name}")


@plays("run", "POST", "/v1/projects/{project}/locations/{region}/services/{name}:setIamPolicy")
def set_service_policy(cloud: Cloud, request: Request, project: str, region: str, name: str) -> Thing:
    cloud.get(f"service/{name}")
    return set_iam_policy(cloud, f"service/{name}", request)


def _released(cloud: Cloud, wanted: Thing) -> Thing:
    """Keep the service as wanted; what its template says now is a new revision if it says something new."""
    name = wanted["metadata"]["name"]
    before = cloud.things[f"service/{name}"]
    status = before.get("status", {})
    revisions: list[str] = status.get("revisions", [])
    if before.get("spec", {}).get("template") != wanted["spec"]["template"]:
        _check_template(cloud, wanted["spec"]["template"]["spec"])
        made = wanted["spec"]["template"].get("metadata", {}).get("name") or f"{name}-{cloud.tick():05d}-abc"
        revisions = [*revisions, made]
    latest = revisions[-1]
    if latest not in before.get("status", {}).get("revisions", []) and cloud.starts(wanted):
        cloud.things[f"ready/{latest}"] = {}
    ready = next((known for known in reversed(revisions) if f"ready/{known}" in cloud.things), "")
    is_ready = ready == latest
    wanted["spec"].setdefault("traffic", [{"latestRevision": True, "percent": 100}])
    number = cloud.tick()
    wanted["metadata"] |= {"resourceVersion": f"AA{number}", "generation": number, "namespace": cloud.number}
    wanted["metadata"].setdefault("creationTimestamp", "2026-11-26T00:00:00.000000Z")
    wanted["status"] = {
        "observedGeneration": number,
        "conditions": [
            {
                "type": kind,
                "status": str(is_ready),
                **({} if is_ready else {"message": _UNREADY.format(latest)}),
            }
            for kind in ("Ready", "ConfigurationsReady", "RoutesReady")
        ],
        "latestCreatedRevisionName": latest,
        **({"latestReadyRevisionName": ready} if ready else {}),
        "url": f"https://{name}-{cloud.number}.europe-west1.run.app",
        "address": {"url": f"https://{name}-{cloud.number}.europe-west1.run.app"},
        "traffic": [_routed(cloud, name, row, ready, revisions) for row in wanted["spec"]["traffic"]],
        "revisions": revisions,
    }
    cloud.things[f"service/{name}"] = wanted
    return wanted


def _routed(cloud: Cloud, name: str, row: Thing, ready: str, revisions: list[str]) -> Thing:
    if not row.get("latestRevision") and not row.get("revisionName"):
        raise RefusedError(
            400, "spec.traffic.revision_name: a traffic target must name a revision or be the latest."
        )
    routed = dict(row) | ({"revisionName": ready} if row.get("latestRevision") and ready else {})
    if (known := routed.get("revisionName")) and known not in revisions:
        raise RefusedError(400, f"Revision {routed['revisionName']} does not exist.")
    if tag := routed.get("tag"):
        routed["url"] = f"https://{tag}---{name}-{cloud.number}.europe-west1.run.app"
    return routed


def _check_template(cloud: Cloud, spec: Thing) -> None:
    account = spec["serviceAccountName"]
    cloud.get(f"account/{account}")
    (container,) = spec["containers"]
    cpu = container["resources"]["limits"]["cpu"]
    if spec["containerConcurrency"] > 1 and float(cpu) < 1:
        raise RefusedError(400, "Total cpu < 1 is not supported with concurrency > 1.")
    for variable in container.get("env", []):
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            _check_secret(cloud, reference, account)


def _check_secret(cloud: Cloud, reference: dict[str, Any], account: str) -> None:
    name = reference["name"]
    cloud.get(f"secret/{name}/{reference['key']}")
    if not holds(cloud, f"secret/{name}", "roles/secretmanager.secretAccessor", f"serviceAccount:{account}"):
        raise RefusedError(403, f"{account} may not read secret {name}")
