"""Server-sent events, in pieces cut anywhere. Pure."""

from steelyard.base.errors import fault

#: An unfinished line may not grow beyond this.
MAX_LINE_BYTES = 8 * 1024 * 1024


class DataLines:
    """The `data:` of events. All three APIs write one line of data an event, so a line is what is waited for."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data that is whole by now.

        Raises:
            Fault: `stream_broken` for a line without an end.
        """
        if self._tail:
            chunk = self._tail + chunk
        *lines, self._tail = chunk.split(b"\n")
        if len(self._tail) > MAX_LINE_BYTES:
            raise fault("stream_broken")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def flush(self) -> list[bytes]:
        """An unterminated last line still counts."""
        return self.feed(b"\n")


def frame(event: bytes, data: bytes) -> bytes:
    """One event with a name."""
    return b"event: %b\ndata: %b\n\n" % (event, data)
