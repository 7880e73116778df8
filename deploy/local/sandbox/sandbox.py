"""Both services together: started, stopped, and given one clock. Their rules are in their own modules."""

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from deploy.local.sandbox.klaviyo.control import control as control_klaviyo
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.omneo.control import control as control_omneo
from deploy.local.sandbox.omneo.service import Omneo
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.server import Listener


class Sandbox:
    """A Klaviyo and an Omneo, each on a loopback port of its own, for as long as the `with` block lasts.

    `clock` gives Unix seconds. With a `seed` the same calls in the same order make the same ids and tokens.
    Every token of the sandbox begins with `token_prefix`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        seed: int | None = None,
        token_prefix: str = "sandbox",  # noqa: S107 (a prefix, no password)
        client_id: str = "sandbox-client-id",
        client_secret: str = "sandbox-client-secret",  # noqa: S107 (the made-up app of a made-up Klaviyo)
        klaviyo_port: int = 0,
        omneo_port: int = 0,
    ) -> None:
        self.clock = Clock(clock)
        identifiers = Identifiers(seed=seed, token_prefix=token_prefix)
        self.klaviyo = Klaviyo(self.clock, identifiers, client_id=client_id, client_secret=client_secret)
        self.omneo = Omneo(self.clock, identifiers)
        self._ports = (klaviyo_port, omneo_port)
        self._listeners: list[Listener] = []

    def start(self) -> Self:
        """Begin to serve; `klaviyo.url` and `omneo.url_template` hold from here on.

        Raises:
            OSError: a port is taken.
        """
        klaviyo_port, omneo_port = self._ports
        try:
            self._serve(self.klaviyo, partial(control_klaviyo, self.klaviyo), klaviyo_port)
            self._serve(self.omneo, partial(control_omneo, self.omneo), omneo_port)
        except OSError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop serving and close every connection."""
        self.klaviyo.close()
        self.omneo.close()
        while self._listeners:
            self._listeners.pop().close()

    def _serve(self, service: Klaviyo | Omneo, control: Callable[[Request], Answer], port: int) -> None:
        listener = Listener(service, control, port=port, clock=self.clock)
        service.url = listener.url
        self._listeners.append(listener.start())

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once for both services."""
        self.clock.advance(seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
