"""What a kind of provider states of itself: the API it speaks, how it wants to be asked, and which headers of callers it takes."""

from dataclasses import dataclass, field

from steelyard.canon.model import Target
from steelyard.upstream.pool import Origin


@dataclass(frozen=True, slots=True)
class Forward:
    """A header of the caller that goes along."""

    #: as the caller sends it, in lower case
    name: bytes
    shown: bytes
    #: Sent where the caller says nothing; empty sends nothing.
    default: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of provider."""

    #: The API whose bodies its targets take.
    api: str
    operations: tuple[str, ...]
    #: The header that carries the key, and what stands before it.
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    #: Header lines of calls that want a stream.
    stream_lines: tuple[str, ...] = ()
    forwards: tuple[Forward, ...] = ()
    #: Where its list of models is, and the members that lead to the names; None where it has none.
    models_path: str | None = "/models"
    models_at: tuple[str, ...] = field(default=("data",))
    model_member: str = "id"
    #: Its API wants an answer's cap in every call: what is sent where neither the caller nor the catalogue has one.
    default_output_tokens: int | None = None

    def key_lines(self, api_key: str) -> list[str]:
        """The header line with the key, if there is one."""
        return [f"{self.key_header}: {self.key_prefix}{api_key}"] if api_key else []


def request_head(kind: Kind, target: Target, origin: Origin, path: str, *, is_stream: bool) -> bytes:
    """The part of the request head that is the same for every call to a target; length and id are added per call."""
    lines = [
        f"POST {origin.prefix}{path} HTTP/1.1",
        f"Host: {origin.host_header}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "User-Agent: steelyard",
        *(kind.stream_lines if is_stream else ()),
        *kind.key_lines(target.api_key),
    ]
    if "\n" in target.api_key or "\r" in target.base_url:
        raise ValueError("line breaks in a provider's key or base_url")
    return "\r\n".join(lines).encode() + b"\r\n"
