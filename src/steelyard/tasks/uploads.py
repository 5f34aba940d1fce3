"""Upload policies: signed leave to put files under one directory for some minutes. Values in, values out. Source: dashscope.md 12."""

import base64
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from steelyard.base import ids
from steelyard.base.clock import MICROS
from steelyard.base.errors import fault
from steelyard.base.secrets import derive, same

PREFIX = "dashscope-instant/"
POLICY_S = 300
MAX_BYTES = 1024**3
FORM_PATH = "/api/v1/uploads/form"
ACCESS_ID = "steelyard"


@dataclass(frozen=True, slots=True)
class Leave:
    """What a policy permits."""

    workspace: str
    model: str
    directory: str


class Policies:
    """Makes policies, and checks them."""

    def __init__(self, master_key: bytes, origin: str) -> None:
        self._key = derive(master_key, "uploads")
        self._origin = origin

    def make(self, workspace: str, model: str, now_us: int) -> dict[str, Any]:
        """What `getPolicy` answers."""
        now = datetime.fromtimestamp(now_us / MICROS, UTC)
        directory = f"{PREFIX}{ids.new_id('acct')[5:]}/{now:%Y-%m-%d}/{ids.new_request_id()}"
        expires = datetime.fromtimestamp(now_us / MICROS + POLICY_S, UTC)
        conditions = [
            ["content-length-range", 0, MAX_BYTES],
            ["starts-with", "$key", directory],
            {"bucket": ACCESS_ID},
            {"x-oss-object-acl": "private"},
            {"x-oss-forbid-overwrite": "true"},
            {"x-steelyard-workspace": workspace},
            {"x-steelyard-model": model},
        ]
        policy = base64.b64encode(
            msgspec.json.encode({"expiration": f"{expires:%Y-%m-%dT%H:%M:%S}.000Z", "conditions": conditions})
        ).decode()
        return {
            "policy": policy,
            "signature": self._sign(policy),
            "upload_dir": directory,
            "upload_host": self._origin + FORM_PATH,
            "expire_in_seconds": POLICY_S,
            "max_file_size_mb": MAX_BYTES // 1024**2,
            "capacity_limit_mb": 999_999_999,
            "oss_access_key_id": ACCESS_ID,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }

    def _sign(self, policy: str) -> str:
        return base64.b64encode(hmac.new(self._key, policy.encode(), sha256).digest()).decode()

    def check(self, policy: str, signature: str, key: str, now_us: int) -> Leave:
        """What a form's policy permits.

        Raises:
            Fault: `upload_policy_invalid`.
        """
        if not same(signature.encode("utf-8", "replace"), self._sign(policy).encode()):
            raise fault("upload_policy_invalid", reason="its signature does not match.")
        told = msgspec.json.decode(base64.b64decode(policy))
        conditions = told["conditions"]
        named = {name: value for one in conditions if type(one) is dict for name, value in one.items()}
        directory = next(one[2] for one in conditions if type(one) is list and one[0] == "starts-with")
        if datetime.fromisoformat(told["expiration"]).timestamp() * MICROS < now_us:
            raise fault("upload_policy_invalid", reason="it has expired; ask for a new one.")
        base, _, name = key.rpartition("/")
        if base != directory or not name or ".." in key or len(key) > 512:
            raise fault("upload_policy_invalid", reason=f"the key must be {directory}/NAME.")
        return Leave(named["x-steelyard-workspace"], named["x-steelyard-model"], directory)
