"""Access, routing and pricing: values in, values out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.base.errors import Fault
from steelyard.canon.grant import Grant, Workspace
from steelyard.canon.model import Model, Price, Target
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.policy import access, pricing, routing

GRANT = Grant(key_id="k", workspace="w")
TARGET = Target(
    provider="p",
    model="m",
    base_url="http://x/v1",
    price=Price(input_micros=2_000_000, output_micros=8_000_000, cached_micros=400_000),
)


def NO_CODECS(api: str, operation: str) -> None:  # noqa: N802 - stands for a table
    return None


def request(**fields: object) -> ModelRequest:
    return ModelRequest(operation="chat", model="m", raw=b"x" * 100, decoded={}, **fields)  # type: ignore[arg-type]


def slug(call, *arguments: object) -> str:
    with pytest.raises(Fault) as caught:
        call(*arguments)
    return caught.value.slug


def test_access_rules() -> None:
    """Each rule refuses with its own row."""
    assert slug(access.check_grant, Grant(key_id="k", workspace="w", is_disabled=True), 0) == "api_key_invalid"
    assert slug(access.check_grant, Grant(key_id="k", workspace="w", expires_us=5), 5) == "api_key_invalid"
    access.check_grant(Grant(key_id="k", workspace="w", expires_us=6), 5)
    assert slug(access.check_workspace, GRANT, Workspace(name="w"), None) == "workspace_not_activated"
    assert slug(access.check_workspace, GRANT, Workspace(name="w", is_activated=True), "v") == "workspace_mismatch"
    assert (
        slug(access.check_model, Grant(key_id="k", workspace="w", models=("a",)), Workspace(name="w"), "b")
        == "model_not_granted"
    )
    assert slug(access.check_model, GRANT, Workspace(name="w", models=("a",)), "b") == "model_not_open"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("1.2.3.4", "9.9.9.9", (), "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9", ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", "8.8.8.8, 9.9.9.9, 10.0.0.2", ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", "nonsense", ("10.0.0.0/8",), "nonsense"),
        (None, "", ("10.0.0.0/8",), None),
    ],
)
def test_client_address(peer: str | None, forwarded: str, trusted: tuple[str, ...], expected: str | None) -> None:
    """The nearest address that no trusted proxy has."""
    assert access.client_address(peer, forwarded, trusted) == expected


def test_networks() -> None:
    """IPv4 and IPv6; what is no address is refused."""
    limited = Grant(key_id="k", workspace="w", networks=("10.0.0.0/8", "::1"))
    access.check_network(limited, "10.9.9.9")
    access.check_network(limited, "::1")
    for address in ("11.0.0.1", "nonsense", None):
        assert slug(access.check_network, limited, address) == "network_not_allowed"


def test_routing() -> None:
    """Unknown names, unfit operations and unmet needs are refused with the documented rows."""
    models = {"m": Model(name="m", targets=(TARGET,))}
    assert routing.resolve(models, request(), NO_CODECS)[1] == (TARGET,)
    assert slug(routing.resolve, {}, request(), NO_CODECS) == "model_not_found"
    only_chat = Target(provider="p", model="m", base_url="http://x", operations=("completions",))
    assert (
        slug(routing.resolve, {"m": Model(name="m", targets=(only_chat,))}, request(), NO_CODECS)
        == "model_operation_mismatch"
    )
    for need, row in {
        "tools": "tools_not_supported",
        "search": "search_not_supported",
        "image": "content_not_text",
    }.items():
        assert slug(routing.resolve, models, request(needs=frozenset({need})), NO_CODECS) == row


def test_cost_is_rounded_up_once() -> None:
    """(7 fresh × 2 + 3 cached × 0.4 + 5 × 8) per million, in micro-units."""
    usage = Usage(prompt_tokens=10, cached_tokens=3, completion_tokens=5)
    assert pricing.cost_micros(TARGET.price, usage) == 56
    assert pricing.cost_micros(Price(input_micros=1), Usage(prompt_tokens=1)) == 1
    assert pricing.cost_micros(Price(), usage) == 0


@given(
    prompt=st.integers(0, 116),
    cached=st.integers(0, 116),
    completion=st.integers(0, 4000),
    n=st.integers(1, 4),
    cap=st.integers(1, 1000),
)
def test_hold_is_an_upper_bound(prompt: int, cached: int, completion: int, n: int, cap: int) -> None:
    """Whatever a call within its cap takes, its hold was no less."""
    tokens, micros = pricing.hold_for(request(n=n, output_cap_tokens=cap), (TARGET,))
    usage = Usage(prompt_tokens=prompt, cached_tokens=min(cached, prompt), completion_tokens=min(completion, n * cap))
    assert usage.total_tokens <= tokens
    assert pricing.cost_micros(TARGET.price, usage) <= micros
