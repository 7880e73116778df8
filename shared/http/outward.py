"""Calls to an address that a tenant has named: over https, to a public address alone, with no redirect followed.

A name may lead to another address at the next look-up. So it is looked up once, each of its addresses is checked, and the call goes to the
same address that was checked.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import ExtensionError, WaitError
from shared.http.deadlines import lasting

HTTPS = 443
SECONDS = 10.0
_SERVICE = "The address of notify_url"


class AddressRefusedError(ExtensionError):
    """The address must not be called. The message says why, and can follow the name of a setting."""


def resolved(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host.

    Raises:
        OSError: the host has none, or the look-up fails now.
    """
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError:
        raise OSError("no host can have such a name") from None  # as with a NUL in it
    return [str(row[4][0]) for row in rows]


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet.

    >>> is_public("1.1.1.1"), is_public("10.0.0.1"), is_public("169.254.169.254"), is_public("::ffff:127.0.0.1")
    (True, False, False, False)
    >>> is_public("224.0.0.1"), is_public("64:ff9b::a00:1"), is_public("2002:7f00:1::"), is_public("not an address")
    (False, False, False, False)
    >>> is_public("2606:4700:4700::1111"), is_public("::127.0.0.1"), is_public("fec0::1")
    (True, False, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _GIVEN_OUT or ip.sixtofour or ip.teredo):
        return False  # other IPv6 addresses are IPv4 addresses in another form, or addresses of a site
    return ip.is_global and not ip.is_multicast


_GIVEN_OUT = ipaddress.ip_network("2000::/3")  # the IPv6 addresses of the public internet


@dataclass(frozen=True)
class Outward:
    """Makes such calls. The look-up of names, the test for public addresses, the certificates and the time of a call are arguments, so that
    tests can replace them.
    """

    resolve: Callable[[str, int], Sequence[str]] = resolved
    is_public: Callable[[str], bool] = is_public
    ca_file: str | None = None  # None: those of certifi
    seconds: float = SECONDS

    def check(self, url: str) -> None:
        """Raise AddressRefusedError if the address must not be called. A look-up that fails now raises nothing."""
        try:
            self._target(url)
        except OSError:
            raise AddressRefusedError("its host has no address") from None

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send the body and return the status of the answer. The body of the answer is not read.

        Raises:
            AddressRefusedError: the address must not be called.
            WaitError: no answer came.
        """
        # With urllib3, on which requests is built: only it can call one address under another name.
        import certifi
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        from shared.http.connections import PunctualTlsPool

        try:
            host, port, address = self._target(url)
        except OSError:
            raise WaitError("has no address at the moment", service=_SERVICE) from None
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        pool = PunctualTlsPool(
            address,
            port,
            timeout=Timeout(total=self.seconds),
            retries=False,
            ca_certs=self.ca_file or certifi.where(),
            server_hostname=host,
            assert_hostname=host,
        )
        deadline = time.monotonic() + self.seconds
        with pool, lasting(lambda: deadline - time.monotonic()):
            try:
                answer = pool.urlopen(
                    "POST",
                    path,
                    body=body,
                    headers={**headers, "Host": _on_the_wire(parts.netloc)},
                    redirect=False,
                    preload_content=False,
                )
            except (HTTPError, OSError):
                raise WaitError("did not answer", service=_SERVICE) from None
            answer.close()
            return int(answer.status)

    def _target(self, url: str) -> tuple[str, int, str]:
        """Return host, port and the IP address to call."""
        try:
            parts = urlsplit(url)
            host, port = _on_the_wire(parts.hostname or ""), parts.port or HTTPS
        except ValueError:
            raise AddressRefusedError("must be an address, as in https://example.com/hook") from None
        if parts.scheme != "https" or not host or parts.username is not None or parts.fragment:
            raise AddressRefusedError("must be an https address without a name, a password or a fragment")
        addresses = self.resolve(host, port)
        if not addresses or not all(map(self.is_public, addresses)):
            raise AddressRefusedError("must lead to public addresses alone")
        return host, port, addresses[0]


def _on_the_wire(host: str) -> str:
    """Return a host's name in ASCII, as in "xn--bcher-kva.example". Raises UnicodeError if no host can have the name."""
    return host.encode("idna").decode()
