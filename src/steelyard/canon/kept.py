"""Calls that a workspace keeps whole, to be asked again of another model."""

import msgspec


class KeptCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call and its answer, both as the compatible API has them.

    Args:
        model: as it was called.
        answer: JSON, or the events of a stream.
    """

    request_id: str
    workspace: str
    key_id: str
    model: str
    started_us: int
    body: bytes
    answer: bytes
