"""The accounts of one Klaviyo. An account is made when it is first named."""

import threading

from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers


class Directory:
    """The accounts by id, and the lock of all of them."""

    def __init__(self, clock: Clock, identifiers: Identifiers) -> None:
        self.clock = clock
        self._identifiers = identifiers
        self._lock = threading.RLock()
        self._accounts: dict[str, Account] = {}

    def _current(self, id: str) -> Account:
        """Return an account after every job that is due has had its effect."""
        account = self._account(id)
        account.schedule.run_due()
        return account

    def _account(self, id: str) -> Account:
        with self._lock:
            if id not in self._accounts:
                self._accounts[id] = Account(id, self.clock, self._identifiers)
            return self._accounts[id]
