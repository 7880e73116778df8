"""Plays the project itself: its number, its APIs, its service accounts and its IAM policy."""

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

keeps("iam", "/v1/projects/{project}/serviceAccounts", "account", "accounts")


def _check_project(cloud: Cloud, project: str) -> None:
    if project not in {cloud.project, cloud.number, "-"}:
        raise RefusedError(403, f"{project}: no such project, or no permission")


@plays("cloudresourcemanager", "GET", "/v1/projects/{project}")
def project(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    return {"projectId": cloud.project, "projectNumber": cloud.number, "lifecycleState": "ACTIVE"}


@plays("cloudresourcemanager", "POST", "/v1/projects/{project}:getIamPolicy")
def project_policy(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    return iam_policy(cloud, "project")


@plays("cloudresourcemanager", "POST", "/v1/projects/{project}:setIamPolicy")
def set_project_policy(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    return set_iam_policy(cloud, "project", request)


@plays("cloudresourcemanager", "POST", "/v1/projects/{project}:testIamPermissions")
def permissions(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    asked = request.json["permissions"]
    if len(asked) > 100 or any("*" in name for name in asked):
        raise RefusedError(400, "At most 100 permissions can be tested, and none with a wildcard.")
    return {"permissions": [name for name in asked if name not in cloud.withheld]}


@plays("cloudbilling", "GET", "/v1/projects/{project}/billingInfo")
def billing(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"projectId": project, "billingEnabled": cloud.billing}


@plays("artifactregistry", "GET", "/v1/projects/{project}/locations")
@plays("cloudscheduler", "GET", "/v1/projects/{project}/locations")
@plays("cloudtasks", "GET", "/v2/projects/{project}/locations")
@plays("firestore", "GET", "/v1/projects/{project}/locations")
@plays("run", "GET", "/v1/projects/{project}/locations")
def locations(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"locations": [{"locationId": id} for id in ("europe-west1", "europe-west6")]}


@plays("serviceusage", "GET", "/v1/projects/{project}/services")
def apis(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    return {"services": cloud.under("api")}


@plays("serviceusage", "GET", "/v1/projects/{project}/services/{api}")
def api(cloud: Cloud, request: Request, project: str, api: str) -> Thing:
    return cloud.things.get(f"api/{api}") or {
        "name": f"projects/{cloud.number}/services/{api}",
        "state": "DISABLED",
    }


@plays("serviceusage", "POST", "/v1/projects/{project}/services:batchEnable")
def enable(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_project(cloud, project)
    names = request.json["serviceIds"]
    if len(names) > 20:
        raise RefusedError(400, "A single request can enable at most 20 services.")
    for name in names:
        full = f"projects/{cloud.number}/services/{name}"
        if f"api/{name}" not in cloud.things:
            cloud.create(f"api/{name}", {"name": full, "config": {"name": name}, "state": "ENABLED"})
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}


@plays("iam", "POST", "/v1/projects/{project}/serviceAccounts")
def create_account(cloud: Cloud, request: Request, project: str) -> Thing:
    id = request.json["accountId"]
    if not 6 <= len(id) <= 30:
        raise RefusedError(400, "The account ID must be between 6 and 30 characters long.")
    email = f"{id}@{cloud.project}.iam.gserviceaccount.com"
    account = {"name": f"projects/{cloud.project}/serviceAccounts/{email}", "email": email}
    return cloud.create(f"account/{email}", account | request.json["serviceAccount"])


@plays("iam", "POST", "/v1/projects/{project}/serviceAccounts/{email}:getIamPolicy")
def account_policy(cloud: Cloud, request: Request, project: str, email: str) -> Thing:
    cloud.get(f"account/{email}")
    return iam_policy(cloud, f"account/{email}")


@plays("iam", "POST", "/v1/projects/{project}/serviceAccounts/{email}:setIamPolicy")
def set_account_policy(cloud: Cloud, request: Request, project: str, email: str) -> Thing:
    cloud.get(f"account/{email}")
    return set_iam_policy(cloud, f"account/{email}", request)
