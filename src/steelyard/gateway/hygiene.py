"""From which networks keys are used: told to the face once for each, which knows the ones of old."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

#: Pairs of key and address that are remembered; then all are told anew, which the face takes for what it is.
MAX_SEEN = 50_000
#: Addresses this near to each other count as one network.
PREFIX_BITS = {4: 24, 6: 48}

#: (key id, workspace, network)
Tell = Callable[[str, str, str], None]


class NetworkWatch:
    """Notices a key that is used from an address not seen before."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._seen: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"<NetworkWatch [{len(self._seen)} pairs seen]>"

    def saw(self, key_id: str, workspace: str, address: str | None) -> None:
        """A call of a key from an address."""
        if address is None or (key_id, address) in self._seen:
            return
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
            self._told.clear()
        self._seen.add((key_id, address))
        network = network_of(address)
        if network is not None and (key_id, network) not in self._told:
            self._told.add((key_id, network))
            self._tell(key_id, workspace, network)


def network_of(address: str) -> str | None:
    """The network that an address counts as; None where it is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return str(ip_network((found, PREFIX_BITS[found.version]), strict=False))
