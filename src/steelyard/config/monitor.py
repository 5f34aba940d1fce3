"""[monitor]: what is scraped, kept, evaluated and told, and what may be wrong with it."""

import re
from urllib.parse import urlsplit

import msgspec

from steelyard.base.errors import Fault
from steelyard.base.lifetimes import read_ttl_s

#: [monitor] url: a process of ours.
EMBEDDED = "embedded"
WEBHOOK_KINDS = ("generic", "dingtalk", "feishu", "wecom", "slack")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class ScrapeTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor.targets.NAME]: NAME is the `job` of its series."""

    url: str
    #: Whose series they are; empty: the admins'.
    workspace: str = ""
    #: 0: `monitor.scrape_interval_s`.
    interval_s: float = 0.0
    timeout_s: float = 10.0
    #: A bearer token.
    token: str = ""
    #: Added to every series.
    labels: dict[str, str] = {}


class RuleFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor.rules.NAME]: rules in Prometheus' format."""

    #: Paths or patterns such as `rules/*.yml`.
    files: tuple[str, ...]
    #: Whose series they see and make; empty: the admins'.
    workspace: str = ""


class AlertWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor.webhooks.NAME]: who is told of alerts."""

    url: str
    #: generic (Alertmanager's payload), dingtalk, feishu, wecom or slack.
    kind: str = "generic"
    #: Signs what is sent, where the kind knows signatures.
    secret: str = ""
    #: Whose rules' alerts; not set: all.
    workspace: str | None = None
    #: Only alerts with such a `severity`; empty: all.
    severities: tuple[str, ...] = ()
    lang: str = "en"
    #: A file with a template in place of the message.
    message: str = ""
    #: An alert that goes on is told of again after this long.
    repeat: str = "4h"


class RemoteWrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor.remote_write.NAME]: a Prometheus, Mimir or VictoriaMetrics that samples are sent to."""

    url: str
    #: A bearer token.
    token: str = ""
    headers: dict[str, str] = {}
    #: Whose series; not set: all.
    workspace: str | None = None


class Monitor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor]: samples of what the platform counts, asked for in PromQL under /prometheus."""

    #: "embedded", "off", or the address of a Prometheus, Thanos, Mimir or VictoriaMetrics that answers queries in its place.
    url: str = "embedded"
    #: For that one: a bearer token, and headers such as `X-Scope-OrgID`.
    remote_token: str = ""
    remote_headers: dict[str, str] = {}
    #: How long samples are kept: `15d`, or `forever`.
    retention: str = "15d"
    scrape_interval_s: float = 15.0
    targets: dict[str, ScrapeTarget] = {}
    #: Seconds between two evaluations of a group of rules that does not say it.
    evaluation_interval_s: float = 60.0
    #: Of Model Studio's durations: "ms" or "s".
    duration_unit: str = "ms"
    #: Whether the rules that come with the server are evaluated.
    ready_rules: bool = True
    rules: dict[str, RuleFiles] = {}
    #: Addresses of Alertmanagers.
    alertmanagers: tuple[str, ...] = ()
    webhooks: dict[str, AlertWebhook] = {}
    remote_write: dict[str, RemoteWrite] = {}
    #: Put to what leaves: alerts, federation, remote write.
    external_labels: dict[str, str] = {}


def _address_faults(place: str, url: str) -> list[str]:
    """What is wrong with an address of the operator's, which is not repeated: it may hold a password."""
    if not url.startswith(("http://", "https://")):
        return [f"{place} must begin with http:// or https://"]
    if "@" in urlsplit(url).netloc:
        return [f"{place} must not hold a user or a password: they would not be sent"]
    return []


def check_monitor(monitor: Monitor) -> list[str]:
    faults = []
    if monitor.url not in (EMBEDDED, "off"):
        faults += _address_faults('monitor.url, where it is not "embedded" or "off",', monitor.url)
    for name, one in monitor.remote_write.items():
        faults += _address_faults(f"monitor.remote_write.{name}.url", one.url)
    for number, url in enumerate(monitor.alertmanagers):
        faults += _address_faults(f"monitor.alertmanagers[{number}]", url)
    try:
        read_ttl_s(monitor.retention)
    except Fault:
        faults.append("monitor.retention must be a lifetime such as 15d or forever")
    if not 0.2 <= monitor.scrape_interval_s <= 300:
        faults.append("monitor.scrape_interval_s must lie in 0.2 to 300")
    if monitor.duration_unit not in ("ms", "s"):
        faults.append('monitor.duration_unit must be "ms" or "s"')
    if not 1 <= monitor.evaluation_interval_s <= 3600:
        faults.append("monitor.evaluation_interval_s must lie in 1 to 3600")
    faults += [
        f"monitor.external_labels: {name!r} is no name of a label"
        for name in monitor.external_labels
        if not LABEL_NAME.fullmatch(name)
    ]
    for name, webhook in monitor.webhooks.items():
        faults += [f"monitor.webhooks.{name}.{fault}" for fault in _check_webhook(webhook)]
    for name, target in monitor.targets.items():
        faults += [f"monitor.targets.{name}.{fault}" for fault in _check_target(target)]
    return faults


def _check_webhook(webhook: AlertWebhook) -> list[str]:
    faults = []
    if not webhook.url.startswith(("env:", "file:")):
        faults += _address_faults("url, where it does not refer to one by env: or file:,", webhook.url)
    if webhook.kind not in WEBHOOK_KINDS:
        faults.append(f"kind must be one of {', '.join(WEBHOOK_KINDS)}")
    if webhook.lang not in ("en", "zh"):
        faults.append('lang must be "en" or "zh"')
    try:
        read_ttl_s(webhook.repeat)
    except Fault:
        faults.append("repeat must be a time such as 4h")
    return faults


def _check_target(target: ScrapeTarget) -> list[str]:
    faults = []
    faults += _address_faults("url", target.url)
    if target.interval_s and not 0.2 <= target.interval_s <= 3600:
        faults.append("interval_s must lie in 0.2 to 3600")
    if not 0.1 <= target.timeout_s <= 60:
        faults.append("timeout_s must lie in 0.1 to 60")
    faults += [
        f"labels: {label!r} cannot be set here"
        for label in target.labels
        if not LABEL_NAME.fullmatch(label) or label.startswith("__") or label in ("job", "instance", "workspace_id")
    ]
    return faults
