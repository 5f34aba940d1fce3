"""OpenAPI 3 descriptions as tools. Values in, values out: nothing that a description refers to is ever fetched.

Source: the OpenAPI specification, versions 3.0 and 3.1: path items, parameters, request bodies, and references within the document.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import ToolSpec

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
MAX_OPERATIONS = 500
#: A schema that goes deeper is cut there: anything may stand below.
MAX_DEPTH = 24
#: Nodes of all schemas together, references followed: a small document must not become a large heap.
MAX_NODES = 100_000
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
_NAME = re.compile(r"[^A-Za-z0-9_-]+")
MAX_NAME_CHARS = 60
#: Set by the plugin's credential, never by a model.
_NEVER = frozenset({"authorization", "cookie", "host", "content-type", "content-length", "accept"})
#: What a description says of a schema that is of no use to a model or a check.
_DROPPED = frozenset(
    {"example", "examples", "xml", "externalDocs", "discriminator", "deprecated", "readOnly", "writeOnly"}
)


@dataclass(frozen=True, slots=True)
class Description:
    """What was read of a document."""

    title: str
    summary: str
    servers: tuple[str, ...]
    tools: tuple[ToolSpec, ...]


def invalid(detail: str) -> Fault:
    """The fault of a description."""
    return fault("plugin_invalid", detail=detail, param="document")


class _Loader(yaml.SafeLoader):
    """YAML without aliases: a few of them make a small file endless."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise invalid("it has YAML aliases (&name, *name); write the parts out, or use $ref.")
        return super().compose_node(parent, index)


def read_text(text: str) -> dict[str, Any]:
    """A document, JSON or YAML.

    Raises:
        Fault: `plugin_invalid`.
    """
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise invalid(f"it is larger than {MAX_DOCUMENT_BYTES // 1024 // 1024} MB.")
    try:
        document = msgspec.json.decode(text) if text.lstrip()[:1] == "{" else yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (msgspec.DecodeError, yaml.YAMLError, RecursionError) as exc:
        raise invalid(f"it is neither JSON nor YAML ({str(exc)[:200]}).") from None
    if not isinstance(document, dict):
        raise invalid("it is no object.")
    return document


def read_description(document: dict[str, Any]) -> Description:
    """A document's operations as tools.

    Raises:
        Fault: `plugin_invalid`, saying where.
    """
    version = str(document.get("openapi") or "")
    if not version.startswith("3."):
        told = "Swagger 2" if "swagger" in document else f"version {version!r}" if version else "no `openapi` field"
        raise invalid(f"OpenAPI 3.0 or 3.1 is wanted; this has {told}.")
    return _Reading(document).read()


@dataclass(slots=True)
class _Reading:
    """One document."""

    document: dict[str, Any]
    nodes: int = 0
    names: set[str] = field(default_factory=set)

    def read(self) -> Description:
        info = _object(self.document.get("info"), "info")
        tools: list[ToolSpec] = []
        paths = self.document.get("paths")
        if not isinstance(paths, dict) or not paths:
            raise invalid("it has no paths.")
        for path, item in paths.items():
            where = f"paths.{path}"
            if not str(path).startswith("/"):
                raise invalid(f"{where}: a path begins with '/'.")
            item = self._resolved(item, where)
            shared = _list(item.get("parameters"), f"{where}.parameters")
            tools += [
                self._tool(str(path), method, item[method], shared, f"{where}.{method}")
                for method in METHODS
                if isinstance(item.get(method), dict)
            ]
        if not tools:
            raise invalid("it has no operations.")
        if len(tools) > MAX_OPERATIONS:
            raise invalid(f"it has more than {MAX_OPERATIONS} operations; choose some with `only`.")
        servers = tuple(
            _server_url(one) for one in _list(self.document.get("servers"), "servers") if isinstance(one, dict)
        )
        return Description(
            str(info.get("title") or ""), str(info.get("description") or "")[:2000], servers, tuple(tools)
        )

    def _tool(self, path: str, method: str, operation: dict[str, Any], shared: list[Any], where: str) -> ToolSpec:
        properties: dict[str, Any] = {}
        required: list[str] = []
        places: dict[str, str] = {}
        own = _list(operation.get("parameters"), f"{where}.parameters")
        for one in (*shared, *own):
            self._parameter(self._resolved(one, f"{where}.parameters"), where, properties, required, places)
        body = self._body(operation.get("requestBody"), where, properties, required)
        name = self._name(operation.get("operationId") or f"{method}_{path}")
        text = str(operation.get("description") or operation.get("summary") or f"{method.upper()} {path}")
        parameters = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            parameters["required"] = sorted(set(required))
        origin = {"method": method.upper(), "path": path, "places": places, **body}
        return ToolSpec(name=name, description=text[:1000], parameters=parameters, origin=origin)

    def _parameter(
        self, one: dict[str, Any], where: str, properties: dict[str, Any], required: list[str], places: dict[str, str]
    ) -> None:
        name, place = one.get("name"), one.get("in")
        if not isinstance(name, str) or place not in ("path", "query", "header", "cookie"):
            raise invalid(f"{where}: a parameter needs a name, and `in` path, query, header or cookie.")
        if place == "cookie" or name.lower() in _NEVER:
            return
        content = _object(next(iter(_object(one.get("content"), where).values()), {}), where)
        schema = one.get("schema") or content.get("schema") or {}
        shown = self._schema(schema, f"{where}.{name}", 0)
        if one.get("description") and isinstance(shown, dict):
            shown = {**shown, "description": str(one["description"])[:500]}
        properties[name], places[name] = shown, place
        if place == "path" or one.get("required") is True:
            required.append(name)

    def _body(self, asked: Any, where: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
        if asked is None:
            return {}
        body = self._resolved(asked, f"{where}.requestBody")
        content = _object(body.get("content"), f"{where}.requestBody")
        kind = next(
            (
                one
                for one in content
                if str(one).split(";")[0].strip().lower() in (JSON, FORM) or str(one).endswith("+json")
            ),
            None,
        )
        if kind is None:
            raise invalid(
                f"{where}.requestBody: {JSON} or {FORM} is wanted; it has {', '.join(map(str, content)) or 'nothing'}."
            )
        schema = self._schema(_object(content[kind], where).get("schema") or {}, f"{where}.requestBody", 0)
        fields = schema.get("properties") if schema.get("type") == "object" or "properties" in schema else None
        is_form = kind.startswith(FORM)
        if isinstance(fields, dict) and fields and not fields.keys() & properties.keys():
            # its members beside the parameters: one level less for small models to get wrong
            properties.update(fields)
            wanted = schema.get("required")
            required += [one for one in fields if isinstance(wanted, list) and one in wanted]
            return {"body": sorted(fields), "is_form": is_form}
        properties["body"] = schema
        if body.get("required") is True:
            required.append("body")
        return {"body": "body", "is_form": is_form}

    def _name(self, text: str) -> str:
        name = _NAME.sub("_", str(text)).strip("_") or "operation"
        if len(name) > MAX_NAME_CHARS:
            name = f"{name[: MAX_NAME_CHARS - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        if name in self.names:
            raise invalid(f"two operations are called {name!r}.")
        self.names.add(name)
        return name

    def _resolved(self, value: Any, where: str) -> dict[str, Any]:
        """What a reference within the document stands for."""
        for _ in range(MAX_DEPTH):
            if not isinstance(value, dict):
                raise invalid(f"{where} is no object.")
            if "$ref" not in value:
                return value
            value = self._target(value["$ref"], where)
        raise invalid(f"{where}: its references go round in a circle.")

    def _target(self, reference: Any, where: str) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            shown = str(reference)[:100]
            raise invalid(f"{where} refers to {shown!r}: only references within the document (#/…) are followed.")
        found: Any = self.document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise invalid(f"{where} refers to {reference[:100]!r}, which is not there.")
            found = found[name]
        return found

    def _schema(self, schema: Any, where: str, depth: int) -> dict[str, Any]:
        """A schema without references, for a model to read and a check to use."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise invalid("its schemas are too large.")
        if depth > MAX_DEPTH:
            return {}
        if schema is True or schema is False or schema is None:
            return {}
        out: dict[str, Any] = {}
        is_nullable = False
        for name, value in self._resolved(schema, where).items():
            if name == "nullable":
                is_nullable = value is True
            elif name in _DROPPED or str(name).startswith(("x-", "$")):
                continue
            elif name == "properties" and isinstance(value, dict):
                out[name] = {key: self._schema(one, f"{where}.{key}", depth + 1) for key, one in value.items()}
            elif name in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
                out[name] = [self._schema(one, where, depth + 1) for one in value]
            elif name in ("items", "not", "additionalProperties") and isinstance(value, dict):
                out[name] = self._schema(value, where, depth + 1)
            elif name in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
                # 3.0 says it by a switch beside the bound; what is let through here the server refuses
                continue
            else:
                out[name] = value
        if is_nullable and isinstance(out.get("type"), str):
            out["type"] = [out["type"], "null"]
        return out


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{where} is no object.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(f"{where} is no list.")
    return value


def _server_url(server: dict[str, Any]) -> str:
    """A server's URL, its variables at their defaults."""
    url = str(server.get("url") or "")
    for name, variable in _object(server.get("variables"), "servers.variables").items():
        if isinstance(variable, dict):
            url = url.replace("{" + str(name) + "}", str(variable.get("default") or ""))
    return url
