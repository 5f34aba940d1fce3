"""Which addresses a link of a caller may lead to: public unicast ones alone, unless the operator listed the host.

Source: the registries of special-purpose addresses (RFC 6890 and its successors), as Python's `ipaddress` has them, and the forms in
which a private IPv4 address hides in an IPv6 one.
"""

import fnmatch
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

#: IPv6 networks that carry an IPv4 address in their last bits (NAT64, its local form, IPv4-compatible).
_EMBEDDING = tuple(IPv6Network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
#: Global by the registry, and still no place for a caller's link: relays of 6to4, and what clouds answer from.
_NEVER_4 = tuple(IPv4Network(net) for net in ("192.88.99.0/24", "168.63.129.16/32", "100.100.100.200/32"))
_NEVER_6 = tuple(IPv6Network(net) for net in ("2002::/16", "2001::/32", "fec0::/10", "5f00::/16"))


def is_public(address: str) -> bool:
    """Whether an address is public unicast, also where it hides an IPv4 one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public_4(ip) if isinstance(ip, IPv4Address) else _is_public_6(ip)


def _is_public_4(ip: IPv4Address) -> bool:
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    return not any(ip in net for net in _NEVER_4)


def _is_public_6(ip: IPv6Address) -> bool:
    if ip.ipv4_mapped is not None:
        return _is_public_4(ip.ipv4_mapped)
    if any(ip in net for net in (*_EMBEDDING, *_NEVER_6)):
        # a translator or tunnel would carry it to the address inside: no vendor of media lives behind one
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass(frozen=True, slots=True)
class HostRules:
    """What an operator says of hosts. `*.example.com` stands for all below it."""

    only_hosts: tuple[str, ...] = ()
    deny_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()

    def is_open(self, host: str) -> bool:
        """Whether a host may be asked at all."""
        if matches(host, self.deny_hosts):
            return False
        return not self.only_hosts or matches(host, self.only_hosts)

    def may_be_private(self, host: str, more: Iterable[str] = ()) -> bool:
        """Whether a host may lie in a private network."""
        return matches(host, (*self.private_hosts, *more))


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host is one of these."""
    name = host.lower().rstrip(".")
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns)
