"""Signed requests: a sample that was computed by hand, and everything that is refused before a secret is looked at."""

from hashlib import sha256
from typing import Any

import pytest

from signing import signed
from steelyard.base.errors import Fault
from steelyard.dialects.acs_signature import read_signature

KEY = {"access_key_id": "AKtest", "access_key_secret": "secret"}
ORIGIN = "http://127.0.0.1:8090"
NOW = 1_780_000_000
DATE = "2026-05-28T20:26:40Z"


def headers(**changes: Any) -> dict[bytes, bytes]:
    made = signed(ORIGIN, KEY, "GET", "/w/index/list_indices", {"a": "1"}, date=DATE, nonce="once")
    return {name.encode(): value.encode() for name, value in (made | changes).items()}


def test_the_text_that_is_signed() -> None:
    """A blank that came as + counts as %20, whatever the order of parameters."""
    told = read_signature("GET", "/w/index/list_indices", "b=x+y&a=%E4%B8%AD~*", headers(), NOW)
    assert (told.access_key_id, told.nonce) == ("AKtest", "once")
    head = "".join(
        f"{name}:{value}\n"
        for name, value in sorted(signed(ORIGIN, KEY, "GET", "/w/index/list_indices", date=DATE, nonce="once").items())
        if name != "authorization"
    )
    names = "accept;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
    canonical = "\n".join(
        ("GET", "/w/index/list_indices", "a=%E4%B8%AD~%2A&b=x%20y", head, names, sha256(b"").hexdigest())
    )
    assert told.text == "ACS3-HMAC-SHA256\n" + sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"authorization": ""}, "signature_incomplete"),
        (
            {"authorization": "ACS3-HMAC-SM3 Credential=a,SignedHeaders=host,Signature=" + "0" * 64},
            "signature_incomplete",
        ),
        (
            {"authorization": "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=" + "0" * 64},
            "signature_incomplete",
        ),
        ({"x-acs-added": "not signed"}, "signature_incomplete"),
        ({"x-acs-security-token": "sts"}, "signature_incomplete"),
        ({"x-acs-signature-nonce": ""}, "signature_incomplete"),
        ({"x-acs-signature-nonce": "n" * 129}, "signature_incomplete"),
        ({"x-acs-date": "2026-05-28 20:26:40"}, "signature_incomplete"),
        ({"x-acs-date": "2026-05-28T20:11:39Z"}, "signature_expired"),
        ({"x-acs-date": "2026-05-28T20:41:41Z"}, "signature_expired"),
    ],
)
def test_refused(changes: dict[str, str], slug: str) -> None:
    with pytest.raises(Fault) as caught:
        read_signature("GET", "/w/index/list_indices", "a=1", headers(**changes), NOW)
    assert caught.value.slug == slug
