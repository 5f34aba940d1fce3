"""What goes wrong with a call, with its cause and its cure: for this server and for vendors alike."""

from __future__ import annotations

import functools

import msgspec

from steelyard.base.errors import Row
from steelyard.base.explain import explain


class ApiError(Exception):
    """The endpoint refused or could not be reached. `status` is 0 where nothing answered.

    Attributes:
        status: HTTP status.
        message: the endpoint's own words.
        body: the whole error body.
        request_id: for whoever runs the endpoint.
        retry_after_s: seconds that the endpoint asks to wait.
    """

    def __init__(
        self,
        status: int,
        message: str,
        body: str,
        request_id: str | None = None,
        *,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = body
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self._should_retry = should_retry

    @functools.cached_property
    def _row(self) -> Row | None:
        found = explain(self.body) or explain(str(self.status)) if self.status else []
        return found[0].row if found else None

    @property
    def code(self) -> str:
        """The catalogue's name for it; empty where it is not known."""
        return "" if self._row is None else self._row.slug

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later: what the endpoint says of it, else what its kind is known for."""
        if self._should_retry is not None:
            return self._should_retry
        if self.status == 0:
            return True
        return self._row.is_retryable if self._row is not None else self.status >= 500

    @property
    def cause(self) -> str:
        """Why it happened."""
        return self.explained("en")[0]

    @property
    def cure(self) -> str:
        """What to do about it."""
        return self.explained("en")[1]

    def explained(self, lang: str) -> tuple[str, str]:
        """Cause and cure in `en` or `zh`."""
        place = 1 if lang == "zh" else 0
        if self.status == 0:
            return (
                ("The endpoint did not answer.", "服务地址没有响应。")[place],
                ("Check the address and the network.", "检查地址与网络。")[place],
            )
        if self._row is None:
            return "", ""
        return self._row.cause[place], self._row.cure[place]


def message_of(body: str) -> str:
    """The message of an error body in any dialect."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    error = value.get("error", value) if isinstance(value, dict) else {}
    if isinstance(error, dict):
        return str(error.get("message") or error.get("code") or "")
    return str(error)


def error_of(status: int, headers: dict[str, str], body: str) -> ApiError:
    """The error that an answer is."""
    wish = headers.get("x-should-retry", "").lower()
    return ApiError(
        status,
        message_of(body) or f"HTTP {status}",
        body,
        headers.get("x-request-id") or headers.get("request-id"),
        retry_after_s=_seconds(headers.get("retry-after")),
        should_retry={"true": True, "false": False}.get(wish),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
