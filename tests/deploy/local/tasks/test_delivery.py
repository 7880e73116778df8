"""What a worker is sent by the Cloud Tasks emulator, and what its answer leads to. The clock is moved by hand."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest
from google.auth.exceptions import GoogleAuthError
from google.cloud.tasks_v2 import HttpMethod
from google.oauth2 import id_token

from deploy.local.tasks.delivery import OpenConnections, deliver
from deploy.local.tasks.exchanges import KEPT, Exchange, Exchanges
from deploy.local.tasks.model import Answer, HttpRequest
from tests.deploy.local.tasks.cloud_tasks import NOON, QUEUE, TASK, Reply, World, a_world, record

SLOW = {"min_backoff": timedelta(seconds=10), "max_backoff": timedelta(seconds=300), "max_doublings": 3}
ACCOUNT = "tasks@example.com"


def waits(world: World, name: str, *, tries: int) -> list[float]:
    """Let `tries` attempts fail and return the waits that follow them, in seconds."""
    found = []
    world.worker.replies = [Reply(500)] * tries
    for _ in range(tries):
        world.emulator.step()
        due = world.client.get_task(name=name).schedule_time
        found.append((due - world.clock.now).total_seconds())
        world.clock.now = due
    return found


# The request


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (HttpMethod.HTTP_METHOD_UNSPECIFIED, b"\x00\xff{}"),
        (HttpMethod.POST, b""),
        (HttpMethod.PUT, b"x"),
        (HttpMethod.PATCH, b"x"),
        (HttpMethod.GET, b""),
        (HttpMethod.DELETE, b""),
        (HttpMethod.OPTIONS, b""),
        (HttpMethod.HEAD, b""),
    ],
)
def test_a_task_arrives_with_its_method_target_headers_and_body(
    world: World, method: HttpMethod, body: bytes
) -> None:
    headers = {"X-Kind": "Metric", "Content-Type": "application/json", "X-Name": "Zoë"}
    world.add("/a%2Fb//c?d=e%20f&g", http_request={"http_method": method, "body": body, "headers": headers})

    world.step()

    (request,) = world.worker.received
    assert request.method == ("POST" if method == HttpMethod.HTTP_METHOD_UNSPECIFIED else method.name)
    assert request.target == "/a%2Fb//c?d=e%20f&g"
    assert request.body == body
    assert request.headers["x-kind"] == "Metric"
    assert request.headers["x-name"].encode("latin-1").decode() == "Zoë"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{world.worker.port}"
    assert world.left() == []


def test_a_worker_is_told_about_queue_and_task(world: World) -> None:
    world.add(name=f"{TASK}/flush-1")

    world.step(seconds=5)

    (request,) = world.worker.received
    about = {name: value for name, value in request.headers.items() if name.startswith("x-cloudtasks-")}
    assert about == {
        "x-cloudtasks-queuename": "acme-klaviyo-outbound",
        "x-cloudtasks-taskname": "flush-1",
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
        "x-cloudtasks-tasketa": f"{int(NOON.timestamp())}.250000",
    }
    assert request.headers["user-agent"] == "Google-Cloud-Tasks"


def test_headers_that_belong_to_the_service_are_dropped(world: World) -> None:
    world.add(
        http_request={
            "headers": {
                "X-CloudTasks-TaskRetryCount": "99",
                "x-google-anything": "1",
                "X-AppEngine-QueueName": "1",
                "User-Agent": "me",
                "Host": "elsewhere.example",
                "Content-Length": "7",
                "Transfer-Encoding": "chunked",
                "X-Mine": "1",
            },
            "body": b"abc",
        }
    )

    world.step()

    (request,) = world.worker.received
    assert request.body == b"abc"
    assert request.headers["x-cloudtasks-taskretrycount"] == "0"
    assert request.headers["user-agent"] == "Google-Cloud-Tasks"
    assert request.headers["host"] == f"127.0.0.1:{world.worker.port}"
    assert request.headers["x-mine"] == "1"
    assert not {"x-google-anything", "x-appengine-queuename", "transfer-encoding"} & set(request.headers)


def test_a_body_without_a_content_type_is_an_octet_stream(world: World) -> None:
    world.add(http_request={"body": b"x"})
    world.add(http_request={"headers": {"content-type": "text/plain"}, "body": b"x"})
    world.add()

    world.step()

    assert sorted(map(str, world.worker.header("Content-Type"))) == [
        "None",
        "application/octet-stream",
        "text/plain",
    ]


def test_retries_say_how_often_and_why(world: World) -> None:
    world.worker.replies = [Reply(503), Reply(404), Reply(raw=b"what?"), Reply(200)]
    world.add()

    for _ in range(4):
        world.step(hours=1)

    assert world.worker.header("X-CloudTasks-TaskRetryCount") == ["0", "1", "2", "3"]
    assert world.worker.header("X-CloudTasks-TaskExecutionCount") == ["0", "0", "1", "1"]
    assert world.worker.header("X-CloudTasks-TaskPreviousResponse") == [None, "503", "404", None]
    assert world.worker.header("X-CloudTasks-TaskRetryReason") == [
        None,
        "HTTP status code 503",
        "HTTP status code 404",
        "no usable answer",
    ]
    assert world.left() == []


# The answer


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_finishes_a_task(world: World, status: int) -> None:
    world.worker.replies = [Reply(status, {"Content-Length": "0"})]
    world.add()

    world.step()

    assert world.left() == []
    assert [attempt["status"] for attempt in world.attempts()] == [status]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 429, 500, 503])
def test_any_other_status_is_tried_again(world: World, status: int) -> None:
    world.worker.replies = [Reply(status, {"Content-Length": "0"})]
    name = world.add().name

    world.step()

    task = world.client.get_task(name=name)
    assert (task.dispatch_count, task.response_count) == (1, 1)
    assert task.last_attempt.response_status.message == f"HTTP status code {status}"
    world.step(seconds=0.1)
    assert world.left() == []


def test_a_redirect_is_not_followed(world: World) -> None:
    world.worker.replies = [Reply(307, {"Location": world.worker.url("/elsewhere"), "Content-Length": "0"})]
    world.add("/here")

    world.step()

    assert world.worker.targets() == ["/here"]
    assert len(world.left()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"not http at all\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_short_or_is_no_http_is_none(world: World, raw: bytes) -> None:
    world.worker.replies = [Reply(raw=raw)]
    world.add()

    world.step()

    assert [(attempt["status"], attempt["failure"]) for attempt in world.attempts()] == [
        (None, "no usable answer")
    ]
    assert len(world.left()) == 1


def test_a_worker_that_is_down_is_tried_again(world: World) -> None:
    name = world.add(http_request={"url": "http://127.0.0.1:1/"}).name

    world.step()

    assert world.attempts()[0]["failure"] == "connection refused"
    task = world.client.get_task(name=name)
    assert (task.dispatch_count, task.response_count) == (1, 0)
    assert task.schedule_time == NOON + timedelta(seconds=0.1)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/",
        "http://example.com/",
        "http://0.0.0.0/",
        "http://127.0.0.1.example.com/",
        "http://[2001:db8::1]/",
        "http://127.0.0.1@example.com/",
    ],
)
def test_a_host_that_is_not_this_machine_is_never_called(world: World, url: str) -> None:
    name = world.add(http_request={"url": url}).name

    world.step()

    assert world.attempts()[0]["failure"] == "refused: the host is not this machine"
    assert world.left() == [name]


def test_a_url_with_tls_is_never_called(world: World) -> None:
    world.add(http_request={"url": f"https://127.0.0.1:{world.worker.port}/"})

    world.step()

    assert world.attempts()[0]["failure"] == "refused: the emulator speaks plain HTTP only"


def test_localhost_is_this_machine(world: World) -> None:
    world.add(http_request={"url": f"http://localhost:{world.worker.port}/here"})

    world.step()

    assert world.worker.targets() == ["/here"]
    assert world.worker.header("Host") == [f"localhost:{world.worker.port}"]


# Back-off and giving up


def test_the_backoff_is_the_documented_example(world: World) -> None:
    world.queue(retry_config=SLOW)

    assert waits(world, world.add().name, tries=8) == [10, 20, 40, 80, 160, 240, 300, 300]


def test_a_task_may_bring_its_own_retry_config(world: World) -> None:
    world.queue(retry_config=SLOW)
    own = {"min_backoff": timedelta(seconds=1), "max_backoff": timedelta(seconds=3), "max_doublings": 1}

    assert waits(world, world.add(retry_config=own).name, tries=4) == [1, 2, 3, 3]


def test_a_change_of_the_queue_holds_for_tasks_that_are_in_it(world: World) -> None:
    name = world.add().name
    world.queue(retry_config=SLOW)

    assert waits(world, name, tries=2) == [10, 20]


def test_a_retry_is_not_sent_before_its_time(world: World) -> None:
    world.queue(retry_config=SLOW)
    world.worker.replies = [Reply(500)]
    world.add()
    world.step()

    world.step(seconds=10, microseconds=-1)
    assert len(world.worker.received) == 1
    world.step(microseconds=1)
    assert len(world.worker.received) == 2


def test_a_task_is_deleted_after_its_last_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.queue(retry_config=SLOW | {"max_attempts": 3})
    world.worker.replies = [Reply(500)] * 3
    world.add(name=f"{TASK}/poison", http_request={"body": b"secret"})

    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            world.step(minutes=5)

    assert len(world.worker.received) == 3
    assert world.left() == []
    assert [attempt["given_up"] for attempt in world.attempts()] == [False, False, True]
    assert "gave up task poison after 3 attempts: HTTP status code 500" in caplog.text
    assert "secret" not in caplog.text


def test_a_task_with_both_limits_ends_when_both_are_reached(world: World) -> None:
    world.queue(retry_config=SLOW | {"max_attempts": 2, "max_retry_duration": timedelta(seconds=60)})
    world.worker.replies = [Reply(500)] * 9
    world.add()

    for _ in range(20):
        world.step(seconds=10)

    # attempts after 10, 20, 40 and 80 s: the second would have been the last, but 60 s were not over
    sent = [attempt["dispatched_epoch"] - NOON.timestamp() for attempt in world.attempts()]
    assert sent == [10, 20, 40, 80]
    assert world.left() == []


def test_a_task_without_limits_is_tried_for_ever(world: World) -> None:
    world.queue(retry_config=SLOW | {"max_attempts": -1})

    assert waits(world, world.add().name, tries=130)[-1] == 300


@pytest.mark.parametrize("status", [429, 503])
def test_a_worker_that_asks_to_wait_is_not_called_before(world: World, status: int) -> None:
    world.queue(retry_config=SLOW)
    world.worker.replies = [Reply(status, {"Retry-After": "120"}), Reply(status, {"Retry-After": "3"})]
    name = world.add().name

    world.step()
    assert world.client.get_task(name=name).schedule_time == NOON + timedelta(seconds=120)
    world.step(seconds=120)
    assert world.client.get_task(name=name).schedule_time == NOON + timedelta(seconds=140)


def test_a_worker_may_ask_to_wait_until_a_date(world: World) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    world.worker.replies = [Reply(503, {"Retry-After": later})]
    name = world.add().name

    world.step()

    wait = world.client.get_task(name=name).schedule_time - NOON
    assert timedelta(seconds=590) < wait <= timedelta(seconds=600)


@pytest.mark.parametrize(
    ("status", "value"),
    [(500, "120"), (503, "soon"), (503, "-5"), (503, ""), (503, "Sun, 06 Nov 1994 08:49:37 GMT")],
)
def test_a_retry_after_that_says_nothing_leaves_the_backoff(world: World, status: int, value: str) -> None:
    world.worker.replies = [Reply(status, {"Retry-After": value})]
    name = world.add().name

    world.step()

    assert world.client.get_task(name=name).schedule_time == NOON + timedelta(seconds=0.1)


# The deadline, which is wall time


def hurried(
    request: HttpRequest, headers: Iterable[tuple[str, str]], *, timeout: float, connections: OpenConnections
) -> Answer:
    return deliver(request, headers, timeout=timeout / 100, connections=connections)


def test_a_worker_that_exceeds_the_deadline_is_cut_off_and_tried_again(tmp_path: Path) -> None:
    with a_world(tmp_path, deliver=hurried) as world:
        world.worker.hold.clear()
        name = world.add(dispatch_deadline=timedelta(seconds=15)).name

        world.step()

        assert world.attempts()[0]["failure"] == "deadline exceeded"
        assert world.client.get_task(name=name).response_count == 0
        assert world.left() == [name]


def test_the_default_deadline_is_ten_minutes(tmp_path: Path) -> None:
    timeouts = []

    def noted(
        request: HttpRequest,
        headers: Iterable[tuple[str, str]],
        *,
        timeout: float,
        connections: OpenConnections,
    ) -> Answer:
        timeouts.append(timeout)
        return deliver(request, headers, timeout=timeout, connections=connections)

    with a_world(tmp_path, deliver=noted) as world:
        world.add()
        world.add(dispatch_deadline=timedelta(seconds=20.0015))
        world.step()

    assert sorted(timeouts) == [20.001, 600]


def test_a_worker_that_trickles_its_answer_meets_the_deadline_too() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            request = HttpRequest(f"http://127.0.0.1:{server.getsockname()[1]}/")
            answer = deliver(request, [], timeout=0.15, connections=OpenConnections())
        finally:
            stop.set()
            thread.join()

    assert answer == Answer(None, "deadline exceeded")


# The identity token


verify: Callable[..., Any] = id_token.verify_oauth2_token


def published_key(world: World) -> Callable[..., object]:
    """Return what google-auth fetches certificates with, pointed at the emulator."""
    answer = SimpleNamespace(
        status=200, data=json.dumps(record(world.emulator.http_address, "/certs")).encode()
    )
    return lambda *_, **__: answer


def a_token(world: World, **oidc: str) -> str:
    world.clock.now = datetime.now(UTC)  # the verifier reads the machine's clock
    world.add(
        "/tasks/outbound?secret=1",
        http_request={
            "oidc_token": {"service_account_email": ACCOUNT, **oidc},
            "headers": {"authorization": "Basic mine"},
        },
    )
    world.step()
    scheme, token = str(world.worker.header("Authorization")[-1]).split()
    assert scheme == "Bearer"
    return token


def test_a_token_is_accepted_by_googles_own_verifier_for_its_audience_only(world: World) -> None:
    token, key = a_token(world, audience="http://worker"), published_key(world)

    claims = verify(token, key, audience="http://worker")

    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)
    assert claims["sub"].isdigit()
    assert claims["exp"] - claims["iat"] == 3600
    with pytest.raises((ValueError, GoogleAuthError), match="audience"):
        verify(token, key, audience="http://other")


def test_a_token_that_was_tampered_with_is_rejected(world: World) -> None:
    head, claims, signature = a_token(world, audience="http://worker").split(".")
    other = a_token(world, audience="http://admin").split(".")[1]

    with pytest.raises(ValueError, match="signature"):
        verify(f"{head}.{other}.{signature}", published_key(world), audience="http://admin")
    assert claims != other


def test_the_audience_of_a_token_is_the_url_without_its_query_unless_named(world: World) -> None:
    claims = verify(a_token(world), published_key(world))

    assert claims["aud"] == world.worker.url("/tasks/outbound")


def test_a_task_without_a_token_keeps_its_own_authorization(world: World) -> None:
    world.add(http_request={"headers": {"Authorization": "Basic mine"}})
    world.add()

    world.step()

    assert sorted(map(str, world.worker.header("Authorization"))) == ["Basic mine", "None"]


def test_the_signing_key_outlives_a_restart(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        before = record(world.emulator.http_address, "/certs")
    with a_world(tmp_path) as world:
        after = record(world.emulator.http_address, "/certs")

    assert before == after
    assert next(iter(before.values())).startswith("-----BEGIN PUBLIC KEY-----")


# The record


def test_the_record_tells_the_times_of_every_hop_and_no_content(world: World) -> None:
    world.worker.replies = [Reply(500, {"X-Answer": "private"})]
    world.add(
        "/t?email=private",
        name=f"{TASK}/flush-1",
        schedule_time=NOON + timedelta(seconds=2),
        http_request={"body": b"private", "headers": {"X-Token": "private"}},
    )
    world.step(seconds=3)
    world.step(seconds=1)

    first, second = world.attempts("task=flush-1")

    assert first == {
        "id": 1,
        "task": "flush-1",
        "queue": "acme-klaviyo-outbound",
        "attempt": 1,
        "status": 500,
        "failure": "",
        "given_up": False,
        "body_bytes": 7,
        "created": "2026-11-21T12:00:00.250000Z",
        "created_epoch": NOON.timestamp(),
        "scheduled": "2026-11-21T12:00:02.250000Z",
        "scheduled_epoch": NOON.timestamp() + 2,
        "dispatched": "2026-11-21T12:00:03.250000Z",
        "dispatched_epoch": NOON.timestamp() + 3,
        "answered": "2026-11-21T12:00:03.250000Z",
        "answered_epoch": NOON.timestamp() + 3,
    }
    assert (second["attempt"], second["status"], second["scheduled"]) == (
        2,
        204,
        "2026-11-21T12:00:03.350000Z",
    )
    assert "private" not in str([first, second])


def test_the_record_tells_what_was_sent_and_answered_to_who_asks_for_it(world: World) -> None:
    world.worker.replies = [
        Reply(500, {"X-Answer": "canary"}),
        Reply(raw=b"HTTP/1.1 200 \r\nContent-Length: 6\r\n\r\ncanary"),
    ]
    world.add("/t", name=f"{TASK}/flush-1", http_request={"body": b"canary-body"})
    world.step()
    world.step(seconds=1)

    first, second = world.attempts("bodies=1")

    assert (first["sent"]["method"], first["sent"]["url"]) == ("POST", world.worker.url("/t"))
    assert first["sent"]["body"] == "canary-body"
    assert ["X-CloudTasks-TaskName", "flush-1"] in first["sent"]["headers"]
    assert ["X-Answer", "canary"] in first["received"]["headers"]
    assert second["received"]["body"] == "canary"
    assert world.attempts("bodies=0") == world.attempts("")


def test_an_attempt_that_was_not_answered_was_sent_all_the_same(world: World) -> None:
    world.worker.replies = [Reply(raw=b"canary")]
    world.add(http_request={"body": b"canary-body"})
    world.step()

    (attempt,) = world.attempts("bodies=1")

    assert (attempt["sent"]["body"], attempt["received"], attempt["status"]) == ("canary-body", None, None)


def test_the_record_forgets_the_bodies_of_the_oldest_and_of_an_earlier_start(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.add()
        world.step()
    with a_world(tmp_path) as world:
        (attempt,) = world.attempts("bodies=1")
        assert (attempt["sent"], attempt["received"], attempt["status"]) == (None, None, 204)
    exchanges = Exchanges()
    for number in range(KEPT + 1):
        exchanges.sent(number, HttpRequest("http://127.0.0.1/"), ())
    assert (exchanges.of(0), exchanges.of(1)) == (None, Exchange(HttpRequest("http://127.0.0.1/"), ()))


def test_the_record_is_filtered_by_full_or_short_name_and_limited_to_the_newest(world: World) -> None:
    other = world.queue(QUEUE.replace("outbound", "inbound")).name
    for number in (1, 2, 3):
        world.add(name=f"{TASK}/t{number}")
        world.step()
    world.add(queue=other, name=f"{other}/tasks/t1")
    world.step()

    def found(query: str) -> list[str]:
        return [f"{attempt['queue'][13:]} {attempt['task']}" for attempt in world.attempts(query)]

    assert found("") == ["outbound t1", "outbound t2", "outbound t3", "inbound t1"]
    assert found("limit=2") == ["outbound t3", "inbound t1"]
    assert found("task=t1") == ["outbound t1", "inbound t1"]
    assert found(f"task={TASK}/t1") == ["outbound t1"]
    assert found("queue=acme-klaviyo-inbound") == found(f"queue={other}") == ["inbound t1"]
    assert found("task=1") == []
    ids = [attempt["id"] for attempt in world.attempts("")]
    assert [attempt["id"] for attempt in world.attempts(f"after={ids[1]}")] == ids[2:]
    assert found(f"after={ids[-1]}") == []


def test_the_record_tells_how_full_a_queue_is(world: World) -> None:
    assert record(world.emulator.http_address, "/queues")["queues"][0]["oldest_task_age_seconds"] is None
    world.client.pause_queue(name=QUEUE)
    world.add()
    world.clock.advance(seconds=90)
    world.add()

    (queue,) = record(world.emulator.http_address, "/queues")["queues"]

    assert queue == {
        "queue": "acme-klaviyo-outbound",
        "name": QUEUE,
        "paused": True,
        "depth": 2,
        "running": 0,
        "oldest_task_age_seconds": 90,
    }


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("/attempts?limit=x", 400),
        ("/attempts?after=-1", 400),
        ("/attempts?limit=&before=1", 400),
        ("/attempts?body=1", 400),
        ("/attempts?bodies=all", 400),
        ("/queues/1", 404),
    ],
)
def test_the_record_refuses_what_it_does_not_have(world: World, target: str, status: int) -> None:
    with pytest.raises(HTTPError) as refused:
        record(world.emulator.http_address, target)

    with refused.value as answer:
        assert answer.status == status
