"""Descriptions as tools, and calls of them as requests: nothing is fetched, nothing escapes its place."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.apps.openapi import read_description, read_text
from steelyard.apps.openapi_kit import request_of
from steelyard.base.errors import Fault


def document(**operation: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "info": {"title": "T"},
        "servers": [{"url": "https://{region}.x.test/v1", "variables": {"region": {"default": "eu"}}}],
        "paths": {"/items/{id}": {"parameters": [PARAMETER], "post": {"operationId": "change", **operation}}},
        "components": {"schemas": {"Name": {"type": "string", "nullable": True, "example": "x", "x-note": 1}}},
    }


PARAMETER = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
BODY = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"$ref": "#/components/schemas/Name"}, "n": {"type": "integer"}},
            }
        }
    }
}


def test_one_operation() -> None:
    """Path, query, header and body become one schema; what is no use to a model is left out; credentials are no arguments."""
    parameters = [
        {"name": "q", "in": "query", "description": "What", "schema": {"type": "array", "items": {"type": "string"}}},
        {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
        {"name": "c", "in": "cookie", "schema": {"type": "string"}},
    ]
    found = read_description(document(parameters=parameters, requestBody=BODY, summary="Changes it."))
    assert found.servers == ("https://eu.x.test/v1",)
    (tool,) = found.tools
    assert (tool.name, tool.description) == ("change", "Changes it.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "q": {"type": "array", "items": {"type": "string"}, "description": "What"},
            "X-Trace": {"type": "string"},
            "name": {"type": ["string", "null"]},
            "n": {"type": "integer"},
        },
        "additionalProperties": False,
        "required": ["id", "name"],
    }
    method, url, headers, body = request_of(
        "https://x.test", tool, {"id": "a/b?c#d", "q": ["1", "&2"], "X-Trace": "t\r\nEvil: 1", "name": "茶", "n": 2}
    )
    assert (method, url) == ("POST", "https://x.test/items/a%2Fb%3Fc%23d?q=1&q=%262")
    assert headers["X-Trace"] == "t  Evil: 1"
    assert body is not None
    assert json.loads(body) == {"name": "茶", "n": 2}


def test_bodies() -> None:
    """A body that is no object, or whose members clash, stands by itself; forms are forms; others are refused."""
    listed = {
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "integer"}}}},
        "required": True,
    }
    (tool,) = read_description(document(requestBody=listed)).tools
    assert tool.parameters["required"] == ["body", "id"]
    assert request_of("", tool, {"id": "1", "body": [1, 2]})[3] == b"[1,2]"
    clash = {"content": {"application/json": {"schema": {"type": "object", "properties": {"id": {"type": "string"}}}}}}
    (tool,) = read_description(document(requestBody=clash)).tools
    assert set(tool.parameters["properties"]) == {"id", "body"}
    form = {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {"a": {}}}}}}
    (tool,) = read_description(document(requestBody=form)).tools
    assert request_of("", tool, {"id": "1", "a": "x y"})[3] == b"a=x+y"
    with pytest.raises(Fault, match="multipart"):
        read_description(document(requestBody={"content": {"multipart/form-data": {"schema": {}}}}))


def test_bounds() -> None:
    """Names stay apart, circles end, a small document does not become a large heap."""
    two = document()
    two["paths"]["/other"] = {"get": {"operationId": "change"}}
    with pytest.raises(Fault, match="two operations"):
        read_description(two)
    deep = document(requestBody={"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}})
    deep["components"]["schemas"]["Tree"] = {
        "type": "object",
        "properties": {"left": {"$ref": "#/components/schemas/Tree"}},
    }
    (tool,) = read_description(deep).tools
    assert len(json.dumps(tool.parameters)) < 5000
    wide = document(requestBody={"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}})
    wide["components"]["schemas"]["A"] = {"anyOf": [{"$ref": "#/components/schemas/A"}] * 10}
    with pytest.raises(Fault, match="too large"):
        read_description(wide)
    long = document()
    long["paths"] = {"/" + "a" * 200: {"get": {}}, "/" + "a" * 199 + "b": {"get": {}}}
    names = [one.name for one in read_description(long).tools]
    assert len(set(names)) == 2
    assert all(len(one) <= 60 for one in names)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "openapi",
                        "paths",
                        "/x",
                        "get",
                        "parameters",
                        "$ref",
                        "schema",
                        "in",
                        "name",
                        "requestBody",
                        "content",
                        "servers",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_anything(value: Any) -> None:
    """Whatever is sent, it is a description or a fault, never anything else."""
    if isinstance(value, dict):
        with contextlib.suppress(Fault):
            read_description({"openapi": "3.0.0", "paths": {"/x": {"get": value}}, **value})


@pytest.mark.parametrize("text", ["", "[]", "- a", "{", "a: [", "a: &b 1\nc: *b", "\x00"])
def test_texts(text: str) -> None:
    """Neither JSON nor YAML, or more than either should be."""
    with pytest.raises(Fault) as caught:
        read_text(text)
    assert caught.value.slug == "plugin_invalid"
