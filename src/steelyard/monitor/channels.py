"""What each kind of webhook is told of alerts, and how it is signed. Values in, bytes out.

Sources: prometheus.md 3 (Alertmanager's receiver payload); the robots' own pages (DingTalk, Feishu, WeCom, Slack).
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.base.webhook_signature import sign
from steelyard.monitor.template_functions import TemplateError
from steelyard.monitor.templates import fill_template

FIRING, RESOLVED = "firing", "resolved"
MAX_TEXT_CHARS = 3_000
#: Alerts that are shown one by one.
SHOWN = 10
#: What a message says, by language; `message` of a webhook's settings names a file with another one.
MESSAGES = {
    "en": """{{ if eq .Status "firing" }}🔥 Firing{{ else }}✅ Resolved{{ end }}: **{{ .CommonLabels.alertname }}**
{{ range .Shown }}
- {{ with .Labels.severity }}[{{ . | toUpper }}] {{ end }}{{ if eq .Status "resolved" }}resolved: {{ end }}{{ with .Annotations.summary }}{{ . }}{{ else }}{{ .Text }}{{ end }}{{ with .Annotations.description }}
  {{ . }}{{ end }} (since {{ .StartsAt }}){{ end }}
{{ with .More }}
… and {{ . }} more{{ end }}{{ with .ExternalURL }}
{{ . }}{{ end }}""",
    "zh": """{{ if eq .Status "firing" }}🔥 告警{{ else }}✅ 已恢复{{ end }}：**{{ .CommonLabels.alertname }}**
{{ range .Shown }}
- {{ with .Labels.severity }}[{{ . | toUpper }}] {{ end }}{{ if eq .Status "resolved" }}已恢复：{{ end }}{{ with .Annotations.summary_zh }}{{ . }}{{ else }}{{ with .Annotations.summary }}{{ . }}{{ else }}{{ .Text }}{{ end }}{{ end }}{{ with .Annotations.description }}
  {{ . }}{{ end }}（自 {{ .StartsAt }}）{{ end }}
{{ with .More }}
……另有 {{ . }} 条{{ end }}{{ with .ExternalURL }}
{{ . }}{{ end }}""",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One alert as it is told of. Times in milliseconds; `ends_ms` is 0 while it fires."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_ms: int
    ends_ms: int = 0

    @property
    def status(self) -> str:
        """`firing` or `resolved`."""
        return RESOLVED if self.ends_ms else FIRING


@dataclass(frozen=True, slots=True)
class Message:
    """What a webhook is told at once: the alerts of one rule."""

    receiver: str
    group: str
    alerts: tuple[Told, ...]
    external_url: str = ""
    generator_url: str = ""

    @property
    def status(self) -> str:
        """`firing` while any is."""
        return FIRING if any(one.status == FIRING for one in self.alerts) else RESOLVED


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent. `query` goes behind the address."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""


def stamp(ms: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def payload_of(message: Message) -> dict[str, Any]:
    """Alertmanager's receiver payload, version 4."""
    alertname = message.alerts[0].labels.get("alertname", "")
    return {
        "version": "4",
        "status": message.status,
        "receiver": message.receiver,
        "groupKey": f'{{}}/{{group="{message.group}"}}:{{alertname="{alertname}"}}',
        "truncatedAlerts": 0,
        "groupLabels": {"alertname": alertname},
        "commonLabels": _common([one.labels for one in message.alerts]),
        "commonAnnotations": _common([one.annotations for one in message.alerts]),
        "externalURL": message.external_url,
        "alerts": [
            {
                "status": one.status,
                "labels": dict(one.labels),
                "annotations": dict(one.annotations),
                "startsAt": stamp(one.starts_ms),
                "endsAt": stamp(one.ends_ms) if one.ends_ms else "0001-01-01T00:00:00Z",
                "generatorURL": message.generator_url,
                "fingerprint": fingerprint(one.labels),
            }
            for one in message.alerts
        ],
    }


def fingerprint(labels: Mapping[str, str]) -> str:
    """What tells alerts apart."""
    return sha256(encode(sorted(labels.items()))).hexdigest()[:16]


def _common(sets: list[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = sets
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in rest)}


def write_text(message: Message, template: str) -> str:
    """The message's text, by a template over Alertmanager's names; `Shown`, `More` and each alert's `Text` are ours."""
    alerts = [
        {
            "Status": one.status, "Labels": dict(one.labels), "Annotations": dict(one.annotations),
            "StartsAt": stamp(one.starts_ms), "EndsAt": stamp(one.ends_ms) if one.ends_ms else "",
            "GeneratorURL": message.generator_url, "Fingerprint": fingerprint(one.labels),
            "Text": ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items()) if name not in ("alertname", "severity")),
        }
        for one in message.alerts
    ]  # fmt: skip
    payload = payload_of(message)
    data = {
        "Status": message.status, "Receiver": message.receiver, "Alerts": alerts, "Shown": alerts[:SHOWN],
        "More": max(len(alerts) - SHOWN, 0), "GroupLabels": payload["groupLabels"], "CommonLabels": payload["commonLabels"],
        "CommonAnnotations": payload["commonAnnotations"], "ExternalURL": message.external_url,
    }  # fmt: skip
    try:
        text = fill_template(template, {}, data, {})
    except TemplateError as exc:
        text = f"<error expanding template: {exc}>"
    return text.strip()[:MAX_TEXT_CHARS]


def _title(message: Message) -> str:
    return f"{message.status}: {message.alerts[0].labels.get('alertname', '')}"


def _generic(message: Message, _text: str, secret: str, now_s: int) -> Post:
    body = encode(payload_of(message))
    if not secret:
        return Post(body)
    name = f"msg_{sha256(body + str(now_s).encode()).hexdigest()[:24]}"
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign(secret, name, now_s, body),
    }
    return Post(body, headers)


def _dingtalk(message: Message, text: str, secret: str, now_s: int) -> Post:
    body = encode({"msgtype": "markdown", "markdown": {"title": _title(message), "text": text}})
    if not secret:
        return Post(body)
    stamp_ms = now_s * 1000
    digest = hmac.new(secret.encode(), f"{stamp_ms}\n{secret}".encode(), sha256).digest()
    return Post(body, query=f"timestamp={stamp_ms}&sign={quote_plus(base64.b64encode(digest))}")


def _feishu(message: Message, text: str, secret: str, now_s: int) -> Post:
    colour = "red" if message.status == FIRING else "green"
    card = {
        "header": {"title": {"tag": "plain_text", "content": _title(message)}, "template": colour},
        "elements": [{"tag": "markdown", "content": text}],
    }
    body: dict[str, Any] = {"msg_type": "interactive", "card": card}
    if secret:
        digest = hmac.new(f"{now_s}\n{secret}".encode(), b"", sha256).digest()
        body |= {"timestamp": str(now_s), "sign": base64.b64encode(digest).decode()}
    return Post(encode(body))


def _wecom(_message: Message, text: str, _secret: str, _now_s: int) -> Post:
    return Post(encode({"msgtype": "markdown", "markdown": {"content": text}}))


def _slack(message: Message, text: str, _secret: str, _now_s: int) -> Post:
    bold = text.replace("**", "*")
    colour = "danger" if message.status == FIRING else "good"
    attachment = {"color": colour, "fallback": _title(message), "text": bold, "mrkdwn_in": ["text"]}
    return Post(encode({"attachments": [attachment]}))


#: kind -> (what is sent, the robot's own mark of success in a 200)
KINDS: dict[str, tuple[Callable[[Message, str, str, int], Post], tuple[str, ...]]] = {
    "generic": (_generic, ()),
    "dingtalk": (_dingtalk, ("errcode",)),
    "feishu": (_feishu, ("code", "StatusCode")),
    "wecom": (_wecom, ("errcode",)),
    "slack": (_slack, ()),
}


def make_post(kind: str, message: Message, *, template: str, secret: str, now_s: int) -> Post:
    """What a webhook of a kind is sent."""
    write, _ = KINDS[kind]
    post = write(message, write_text(message, template), secret, now_s)
    return Post(post.body, {"Content-Type": "application/json", **post.headers}, post.query)


def refusal_in(kind: str, status: int, body: bytes) -> str:
    """Why a webhook did not take a message, empty where it did. Robots say so in a 200."""
    if not 200 <= status < 300:
        return f"status {status}"
    for name in KINDS[kind][1]:
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return "an answer that is no JSON"
        code = told.get(name, 0) if isinstance(told, dict) else 0
        if code:
            return f"{name} {code}: {str(told.get('errmsg') or told.get('msg') or '')[:100]}"
    return ""
