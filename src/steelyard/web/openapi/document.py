"""Sheets as OpenAPI 3.1 documents. Source: https://spec.openapis.org/oas/v3.1.0, and what Apifox and Postman make of it."""

from typing import Any

from steelyard import __version__
from steelyard.web.openapi.sheet import BYTES, Entry, Sheet

JSON, EVENTS, ANYTHING = "application/json", "text/event-stream", "*/*"
_FORMS = {"body": JSON, "form": "multipart/form-data", "urlencoded": "application/x-www-form-urlencoded"}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of 60 seconds."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…",
    },
}
_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key within 24 hours is answered the same and charged once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9._-]+$"},
}


def make_document(sheet: Sheet, server_url: str) -> dict[str, Any]:
    """An API's document.

    Args:
        server_url: where the API is reached.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": f"steelyard · {sheet.title}", "version": __version__},
        "servers": [{"url": server_url}],
        "security": [{"key": []}],
        "paths": {
            sheet.prefix + path: {method: _operation(sheet, path, method, entry) for method, entry in methods.items()}
            for path, methods in sheet.paths.items()
        },
        "components": {"schemas": sheet.schemas, "securitySchemes": {"key": _SECURITY[sheet.security]}},
    }


def _operation(sheet: Sheet, path: str, method: str, entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": _name(method, path),
        "summary": entry.summary,
        "parameters": _parameters(path, method, entry),
        "responses": _responses(sheet, entry),
    }
    for field, kind in _FORMS.items():
        if schema := getattr(entry, field):
            content: dict[str, Any] = {"schema": _reference(schema)}
            if field == "body" and entry.example:
                content["example"] = entry.example
            made["requestBody"] = {"required": True, "content": {kind: content}}
    return made


def _parameters(path: str, method: str, entry: Entry) -> list[dict[str, Any]]:
    text = {"type": "string"}
    named = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    made: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {**text, "minLength": 1}} for name in named
    ]
    for name in entry.query:
        bare = name.removesuffix("!")
        one: dict[str, Any] = {"name": bare, "in": "query", "required": name.endswith("!"), "schema": text}
        if bare in entry.example:
            one["example"] = entry.example[bare]
        made.append(one)
    for name, values in entry.headers.items():
        schema = {**text, "enum": list(values)}
        made.append({"name": name.removesuffix("!"), "in": "header", "required": name.endswith("!"), "schema": schema})
    return [*made, _ONCE] if method == "post" else made


def _responses(sheet: Sheet, entry: Entry) -> dict[str, Any]:
    if entry.answer == BYTES:
        content: dict[str, Any] = {ANYTHING: {"schema": {"type": "string", "format": "binary"}}}
    else:
        content = {JSON: {"schema": _reference(entry.answer) if entry.answer else {"type": "object"}}}
    if entry.streams:
        # OpenAPI 3.1 has no words for what events look like
        content[EVENTS] = {}
    refusal = {"description": "What is wrong and what to do", "content": {JSON: {"schema": _reference(sheet.refusal)}}}
    return {**{status: {"description": "Done", "content": content} for status in entry.statuses}, "default": refusal}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _name(method: str, path: str) -> str:
    """Unique in a document, and a name in every language that code is generated in."""
    words = [word for part in path.replace("-", "_").split("/") if (word := part.strip("{}"))]
    return "_".join([method, *words])
