"""Questions of the console to the monitor, over its private socket, as whoever asks."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from steelyard.assembly.orders import MONITOR_SOCKET
from steelyard.base.errors import fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.grant import Grant
from steelyard.upstream.pool import Answer, Origin, Pool, PoolError
from steelyard.web.principal import HEADER

TIMEOUT_S = 10.0


class MonitorLink:
    """Prometheus' HTTP API as the monitor has it."""

    def __init__(self, pool: Pool, run_dir: Path) -> None:
        self._pool = pool
        self._origin = Origin("monitor", 80, unix_path=str(run_dir / MONITOR_SOCKET))

    async def ask(self, grant: Grant, path: str, fields: Mapping[str, str]) -> Any:
        """The `data` of an answer.

        Args:
            path: below `/prometheus/api/v1/`.

        Raises:
            Fault: the monitor does not answer, or refuses.
        """
        answer = await self._fetch(grant, "GET", f"api/v1/{path}?{urlencode(fields)}")
        body = decode_object(answer.body)
        if body.get("status") != "success":
            told = str(body.get("error", answer.status))[:300]
            raise fault("stores_unavailable", detail=f" (The monitor says: {told})")
        return body["data"]

    async def reload(self, grant: Grant) -> None:
        """Has the rule files read again.

        Raises:
            Fault: something is wrong in them; the rules stay as they were.
        """
        answer = await self._fetch(grant, "POST", "-/reload")
        if answer.status != 200:
            told = answer.body.decode(errors="replace")[:300].strip().rstrip(".")
            raise fault("parameter_invalid", detail=f"{told}.", param="rules")

    async def _fetch(self, grant: Grant, method: str, path: str) -> Answer:
        headers = {HEADER: base64.b64encode(encode(grant)).decode()}
        try:
            return await self._pool.fetch(
                self._origin, method, f"/prometheus/{path}", b"", headers, timeout_s=TIMEOUT_S
            )
        except PoolError as exc:
            raise fault("stores_unavailable", detail=" (The monitor does not answer.)") from exc
