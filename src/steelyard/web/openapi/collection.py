"""Documents as collections of requests that can be sent at once. Source: Postman Collection Format 2.1, which Apifox reads too."""

from typing import Any
from urllib.parse import quote

from steelyard.base.jsondoor import encode

_FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
#: Names in `{{…}}` are the collection's variables.
BASE, KEY = "base_url", "api_key"


def make_collection(document: dict[str, Any]) -> dict[str, Any]:
    """A document's operations, each with an example; the address and the key are variables."""
    return {
        "info": {"name": document["info"]["title"], "schema": _FORMAT},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{KEY}}}}}", "type": "string"}]},
        "variable": [
            {"key": BASE, "value": document["servers"][0]["url"]},
            {"key": KEY, "value": "sk-sy-...", "type": "secret"},
        ],
        "item": [
            _item(path, method, operation, document["components"]["schemas"])
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ],
    }


def _item(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    parameters = operation["parameters"]
    query = [
        {"key": one["name"], "value": one.get("example", ""), "disabled": not one["required"]}
        for one in parameters
        if one["in"] == "query"
    ]
    segments = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.strip("/").split("/")]
    asked = "&".join(f"{quote(one['key'])}={quote(one['value'])}" for one in query if not one["disabled"])
    headers = [
        {"key": one["name"], "value": one["schema"]["enum"][0], "disabled": not one["required"]}
        for one in parameters
        if one["in"] == "header" and "enum" in one["schema"]
    ]
    request: dict[str, Any] = {
        "method": method.upper(),
        "url": {
            "raw": f"{{{{{BASE}}}}}/{'/'.join(segments)}{'?' if asked else ''}{asked}",
            "host": [f"{{{{{BASE}}}}}"],
            "path": segments,
            "query": query,
            "variable": [{"key": one["name"], "value": ""} for one in parameters if one["in"] == "path"],
        },
        "header": headers,
    }
    if "requestBody" in operation:
        request["body"] = _body(operation["requestBody"]["content"], schemas)
    return {"name": operation["summary"], "request": request}


def _body(contents: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = contents.items()
    if kind == "application/json":
        text = encode(content.get("example", {})).decode()
        return {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}
    mode = "formdata" if kind.startswith("multipart") else "urlencoded"
    fields = schemas[content["schema"]["$ref"].rpartition("/")[2]].get("properties", {})
    kinds = {name: "file" if told.get("format") == "binary" else "text" for name, told in fields.items()}
    return {"mode": mode, mode: [{"key": name, "value": "", "type": one} for name, one in kinds.items()]}
