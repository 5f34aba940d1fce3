"""An exchange that keeps a copy of the answer, for a repeat with the same Idempotency-Key."""

from collections.abc import Callable

from steelyard.gateway.exchange import Exchange, Headers
from steelyard.gateway.ports import StoredAnswer

MAX_KEPT_BYTES = 1_048_576


class RecordingExchange:
    """Passes everything through; only successful, whole and small answers are kept."""

    # what is kept may hold up what is sent
    is_posted = False

    def __init__(
        self, inner: Exchange, on_end: Callable[["RecordingExchange"], None], *, outlives_client: bool = False
    ) -> None:
        self._inner = inner
        #: A worker that is killed asks again under the same key: the call goes on, and its answer is there by then.
        self._outlives_client = outlives_client
        self._on_end = on_end
        self.path = inner.path
        self.headers = inner.headers
        self.client = inner.client
        self._status = 0
        self._kept_headers: Headers = []
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = False

    @property
    def body(self) -> bytes:
        """The request body."""
        return self._inner.body

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has gone."""
        return self._inner.is_disconnected and not self._outlives_client

    @property
    def on_disconnect(self) -> Callable[[], None] | None:
        """See `Exchange`."""
        return self._inner.on_disconnect

    @on_disconnect.setter
    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        if callback is None or self._outlives_client:
            self._inner.on_disconnect = None
            return

        def gone() -> None:
            callback()
            # whatever was delivered, nobody has the whole of it
            self._on_end(self)

        self._inner.on_disconnect = gone

    @property
    def on_pressure(self) -> Callable[[bool], None] | None:
        """See `Exchange`."""
        return self._inner.on_pressure

    @on_pressure.setter
    def on_pressure(self, callback: Callable[[bool], None] | None) -> None:
        self._inner.on_pressure = callback

    @property
    def is_answered(self) -> bool:
        """Whether a model's answer, whole or not, has begun to reach the client."""
        return self._status == 200

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        self._note(status, headers)
        self._take(body)
        self._is_whole = True
        self._inner.send(status, headers, body)
        self._on_end(self)

    def start(self, status: int, headers: Headers) -> None:
        """See `Exchange`."""
        self._note(status, headers)
        self._inner.start(status, headers)

    def write(self, data: bytes) -> None:
        """See `Exchange`."""
        self._take(data)
        self._inner.write(data)

    def end(self, data: bytes = b"") -> None:
        """See `Exchange`."""
        self._take(data)
        self._is_whole = True
        self._inner.end(data)
        self._on_end(self)

    def break_off(self, data: bytes) -> None:
        """See `Exchange`."""
        self._inner.break_off(data)
        self._on_end(self)

    def abort(self) -> None:
        """See `Exchange`."""
        self._inner.abort()
        self._on_end(self)

    def answer(self, keeps: bool) -> StoredAnswer | None:
        """The answer to keep, None where there is none or it must not be kept."""
        if not (keeps and self._is_whole and self.is_answered) or self._size > MAX_KEPT_BYTES:
            return None
        return StoredAnswer(self._status, self._kept_headers, b"".join(self._parts))

    def _note(self, status: int, headers: Headers) -> None:
        self._status = status
        self._kept_headers = list(headers)

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_KEPT_BYTES:
            self._parts.append(data)
        else:
            self._parts.clear()
