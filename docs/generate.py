"""Writes the reference pages from the code; a test holds that they are current. `make docs`."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from steelyard.base.errors import ROWS
from steelyard.base.metrics import Registry
from steelyard.cli.__main__ import COMMANDS
from steelyard.config import monitor, sections
from steelyard.gateway import asgi
from steelyard.policy.meter import Meter
from steelyard.web.apps_api import AppsApi
from steelyard.web.control_api import ControlApi, Operation
from steelyard.web.knowledge_api import KnowledgeApi
from steelyard.web.media_control import MediaControl

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Made from the code by docs/generate.py; do not edit. -->\n\n"


def cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def errors() -> str:
    rows: list[list[object]] = [
        [
            row.status,
            f"`{row.slug}`",
            f"`{row.openai_type}` / `{row.openai_code}`",
            f"`{row.native_code}`",
            row.shown_message,
            f"{row.cure[0]}<br>{row.cure[1]}",
            "yes" if row.is_retryable else "no",
        ]
        for row in sorted(ROWS, key=lambda row: (row.status, row.slug))
    ]
    head = ["Status", "Slug", "OpenAI type / code", "DashScope code", "Text", "Cure 处理", "Retry"]
    return "# Errors\n\nAlso at `/errors` on a running server and by `steelyard explain`.\n\n" + table(head, rows)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _fields(path: str, kind: type[msgspec.Struct]) -> list[list[object]]:
    rows: list[list[object]] = []
    for field in msgspec.structs.fields(kind):
        default = "required" if field.required else f"`{_default(field)!r}`"
        is_made_of_others = "[" in str(field.type) or "|" in str(field.type)
        name = str(field.type) if is_made_of_others else getattr(field.type, "__name__", str(field.type))
        rows.append([f"`{path}.{field.name}`", re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", name), default])
    return rows


def configuration() -> str:
    kinds: list[tuple[str, type[msgspec.Struct]]] = [
        ("server", sections.Server),
        ("database", sections.DatabaseSettings),
        ("limits", sections.Limits),
        ("quota", sections.Quota),
        ("knowledge", sections.KnowledgeSettings),
        ("engines", sections.Engines),
        ("engines.diffusion", sections.Diffusion),
        ("objects", sections.Objects),
        ("outbound", sections.Outbound),
        ("tasks", sections.Tasks),
        ("monitor", monitor.Monitor),
        ("monitor.targets.NAME", monitor.ScrapeTarget),
        ("monitor.rules.NAME", monitor.RuleFiles),
        ("monitor.webhooks.NAME", monitor.AlertWebhook),
        ("monitor.remote_write.NAME", monitor.RemoteWrite),
        ("console", sections.ConsoleSettings),
        ("providers.NAME", sections.Provider),
        ("plugins.NAME", sections.PluginSettings),
        ("plugins.NAME.credential", sections.Credential),
        ('models."NAME"', sections.ModelSettings),
        ('models."NAME".targets[]', sections.TargetSettings),
        ('models."NAME".price', sections.PriceSettings),
    ]
    rows: list[list[object]] = [["`models.embedded_names`", 'str: "auto", "on", "off"', "`'auto'`"]]
    for path, kind in kinds:
        rows += _fields(path, kind)
    return (
        "# Configuration\n\n`./steelyard.toml`, `--config`, or `$STEELYARD_CONFIG`; then the environment "
        "(`STEELYARD_SERVER__PORT=9000`); then flags. Later wins. Unknown keys are errors. Secrets may be references: "
        "`env:NAME`, `file:PATH`. SIGHUP reads the file again; a faulty one changes nothing.\n\n"
        + table(["Key", "Type", "Default"], rows)
        + "\nOther variables: `STEELYARD_DATA_DIR`, `STEELYARD_MODELS_DIR`, `STEELYARD_PROFILES`, "
        "`STEELYARD_API_KEY`, `DASHSCOPE_API_KEY`, `OPENAI_API_KEY`.\n"
    )


def _commands() -> Iterator[tuple[str, Any]]:
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if inspect.isfunction(found):
            yield name, found
            continue
        if found.default_command is not None:
            yield name, found.default_command
        for sub in found:
            if not sub.startswith("-"):
                yield f"{name} {sub}", found[sub].default_command


def _flattened(function: Any) -> Iterator[inspect.Parameter]:
    """A command's parameters; flags that commands share stand in a dataclass."""
    for parameter in inspect.signature(function).parameters.values():
        if dataclasses.is_dataclass(parameter.annotation):
            for field in dataclasses.fields(parameter.annotation):
                yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        else:
            yield parameter


def commands() -> str:
    rows: list[list[object]] = []
    for name, function in sorted(_commands()):
        words = []
        for parameter in _flattened(function):
            option = "--" + parameter.name.replace("_", "-")
            is_flag = parameter.kind is parameter.KEYWORD_ONLY
            shown = option if is_flag else parameter.name.upper()
            words.append(shown if parameter.default is parameter.empty else f"[{shown}]")
        rows.append([f"`steelyard {name}`", f"`{' '.join(words)}`", (inspect.getdoc(function) or "").splitlines()[0]])
    return "# Commands\n\nExit codes: 0 done, 1 failed, 2 wrong usage.\n\n" + table(["Command", "Takes", "Does"], rows)


def _control_operations() -> tuple[Operation, ...]:
    """The control API's table without the services behind it."""
    more = (
        *MediaControl(*[None] * 3).operations,  # type: ignore[arg-type]
        *KnowledgeApi(*[None] * 4).operations,  # type: ignore[arg-type]
        *AppsApi(*[None] * 5).operations,  # type: ignore[arg-type]
    )
    return ControlApi(None, None, 0, None, "", more).operations  # type: ignore[arg-type]


def control_api() -> str:
    rows: list[list[object]] = [
        [f"`{one.method} /control/v1{one.path}`", one.summary, f"`{one.body.__name__}`" if one.body else ""]
        for one in _control_operations()
    ]
    own = ", ".join(f"`{prefix}`" for prefix in asgi.OWN_WORKSPACE_PREFIXES)
    public = ", ".join(f"`{path}`" for path in (*asgi.PUBLIC_PATHS, *(prefix + "…" for prefix in asgi.PUBLIC_PREFIXES)))
    return (
        f"# Control API\n\nTakes an admin key; {own} take an api key too, for its own workspace. "
        f"The document is at `/openapi/control.json`, a collection for Apifox and Postman at `/openapi/control.postman.json`.\n\n{table(['Operation', 'Does', 'Body'], rows)}\n"
        f"Public without a key: {public}. Nothing else.\n"
    )


def metrics() -> str:
    registry = Registry()
    Meter(registry)
    rows: list[list[object]] = [
        [f"`{name}`", one["kind"], ", ".join(one["labels"]), one["help"]]
        for name, one in sorted(registry.read().items())
    ]
    rows += [
        ["`llm_backend_up`", "gauge", "model, backend", "Whether the embedded model is loaded."],
        ["`llm_queue_depth`", "gauge", "workspace_id, model", "Calls waiting for a slot."],
        ["`llm_slots_busy`", "gauge", "model", "Slots that generate."],
        ["`task_open`", "gauge", "kind, status", "Tasks that are not over, by kind and status."],
        ["`task_oldest_waiting_seconds`", "gauge", "kind", "How long the oldest waiting task has waited."],
        ["`llm_free_tokens_left`", "gauge", "workspace_id", "Free tokens that a workspace has left."],
        [
            "`llm_budget_used_ratio`",
            "gauge",
            "workspace_id, apikey_id, unit, per",
            "What is spent of a budget in its period, settled calls alone.",
        ],
        ["`task_running`", "gauge", "lane", "Tasks under way."],
        ["`task_ended_total`", "counter", "kind, status", "Tasks that ended, by kind and status."],
        ["`monitor_tsdb_series`", "gauge", "", "Series that the newest half hour has."],
        ["`monitor_scrapes_total`", "counter", "state", "Scrapes by how the target was."],
        ["`monitor_rule_evaluations_total`", "counter", "result", "Evaluations of rules by result."],
        ["`monitor_rule_rounds_missed_total`", "counter", "", "Rounds of groups that came too late."],
        ["`monitor_alerts_firing`", "gauge", "workspace_id", "Alerts that are firing."],
        [
            "`monitor_forwarded_samples_total`",
            "counter",
            "receiver, result",
            "Samples sent by remote write, by receiver and result.",
        ],
        [
            "`monitor_notifications_total`",
            "counter",
            "receiver, result",
            "Tries to tell of alerts, by receiver and result.",
        ],
        ["`task_webhook_tries_total`", "counter", "result", "Tries to tell a webhook, by result."],
    ]
    return (
        "# Metrics\n\n`GET /metrics` with an admin key; summed over all processes. In PromQL under `/prometheus`: [guide](../guides/prometheus.md).\n\n"
        + table(["Name", "Type", "Labels", "Meaning"], rows)
    )


PAGES = {
    "errors.md": errors,
    "configuration.md": configuration,
    "commands.md": commands,
    "control-api.md": control_api,
    "metrics.md": metrics,
}


def render() -> dict[str, str]:
    return {name: NOTE + page() for name, page in PAGES.items()}


if __name__ == "__main__":
    for file_name, text in render().items():
        (REFERENCE / file_name).write_text(text, encoding="utf-8")
