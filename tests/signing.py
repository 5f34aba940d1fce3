"""Requests signed as the vendor's SDK signs them, one step at a time, so that each can be done wrong."""

import hmac
import time
import uuid
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx


def signed(
    origin: str,
    key: dict[str, Any],
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    body: bytes = b"",
    **changes: str,
) -> dict[str, str]:
    """The headers of a signed request; `changes` go in before signing, by their names behind `x-acs-`."""
    headers = {
        "host": urlsplit(origin).netloc,
        "accept": "application/json",
        "user-agent": "AlibabaCloud (test)",
        "x-acs-action": "Any",
        "x-acs-version": "2023-12-29",
        "x-acs-date": changes.get("date") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": changes.get("nonce") or uuid.uuid4().hex,
        "x-acs-content-sha256": sha256(body).hexdigest(),
    }
    if body:
        headers["content-type"] = "application/x-www-form-urlencoded"
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    pairs = "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted((query or {}).items()))
    canonical = "\n".join((method, path, pairs, lines, names, headers["x-acs-content-sha256"]))
    text = f"ACS3-HMAC-SHA256\n{sha256(canonical.encode()).hexdigest()}"
    secret = changes.get("secret") or key["access_key_secret"]
    signature = hmac.new(secret.encode(), text.encode(), sha256).hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key['access_key_id']},SignedHeaders={names},Signature={signature}"
    )
    return headers


def call(
    origin: str,
    key: dict[str, Any],
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    **changes: str,
) -> httpx.Response:
    """One signed call."""
    body = urlencode(form).encode() if form else b""
    headers = signed(origin, key, method, path, query, body, **changes)
    url = origin + path + ("?" + urlencode(query) if query else "")
    return httpx.request(method, url, headers=headers, content=body, timeout=30)
