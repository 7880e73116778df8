"""What becomes of a job: done, waiting or dead, whatever Klaviyo, Omneo, the store and the queue do meanwhile."""

from tests.world import EMAIL, World
from shared.handlers.metrics import accept_metric
import uuid

BODY = {"attributes": {"metric": {"data": {"attributes": {"name": "Reward Issued"}}}, "profile": {"data": {"attributes": {"email": EMAIL}}}}}

def test_an_accepted_metric_becomes_one_event(world: World) -> None:
    tenant = world.tenant()
    accept_metric(tenant, BODY, metric_name="", with_token=False, queue=world.services.queue, now=world.clock(), new_id=lambda: uuid.uuid4().hex, traceparent="")
    world.work()
    assert [event.metric for event in world.events()] == ["Reward Issued"]
