"""The monitor's rules and receivers, from the settings."""

import glob
from pathlib import Path
from urllib.parse import urlsplit

from steelyard.assembly.scraping import make_receivers, remote_headers
from steelyard.base.errors import SetupFault
from steelyard.base.lifetimes import read_ttl_s
from steelyard.config import Settings, resolve_secret
from steelyard.config.monitor import AlertWebhook
from steelyard.monitor.channels import MESSAGES
from steelyard.monitor.notifications import Send, Webhook
from steelyard.monitor.rules import Found, Group, read_files, read_text
from steelyard.monitor.starters import READY_RULES, read_starter
from steelyard.monitor.template_functions import TemplateError
from steelyard.monitor.templates import read_template
from steelyard.upstream.pool import Pool, PoolError, parse_origin

SEND_TIMEOUT_S = 10.0
#: What the rules that come with the server are called as a file.
READY = "ready.yml"


def read_groups(settings: Settings) -> list[Group]:
    """All groups of rules.

    Raises:
        SetupFault: all faults of all files in one text.
    """
    monitor = settings.monitor
    interval_ms = int(monitor.evaluation_interval_s * 1000)
    found = read_text(read_starter(READY_RULES), READY, interval_ms=interval_ms) if monitor.ready_rules else Found()
    for name, wish in monitor.rules.items():
        paths = []
        for pattern in wish.files:
            matching = [Path(one) for one in sorted(glob.glob(pattern))]
            if not matching and not glob.has_magic(pattern):
                found.faults.append(f"monitor.rules.{name}: there is no file {pattern}")
            paths += matching
        one = read_files(paths, workspace=wish.workspace, interval_ms=interval_ms)
        found.groups += one.groups
        found.faults += one.faults
    if found.faults:
        raise SetupFault("The rules have faults: " + "; ".join(found.faults) + ".")
    return found.groups


def make_webhooks(settings: Settings) -> list[Webhook]:
    """All that are told of alerts.

    Raises:
        SetupFault: a secret or a file that is referred to is not there, or a message is no template.
    """
    return [_webhook(name, one) for name, one in settings.monitor.webhooks.items()]


def _webhook(name: str, wish: AlertWebhook) -> Webhook:
    place = f"monitor.webhooks.{name}"
    url = resolve_secret(wish.url, f"{place}.url")
    if not url.startswith(("http://", "https://")):
        raise SetupFault(f"{place}.url must begin with http:// or https://.")
    template = MESSAGES[wish.lang]
    if wish.message:
        try:
            template = Path(wish.message).read_text(encoding="utf-8")
            read_template(template)
        except (OSError, UnicodeDecodeError):
            raise SetupFault(f"{place}.message: the file {wish.message} cannot be read.") from None
        except TemplateError as exc:
            raise SetupFault(f"{place}.message: {exc}.") from None
    return Webhook(
        name=name,
        kind=wish.kind,
        url=url,
        secret=resolve_secret(wish.secret, f"{place}.secret") if wish.secret else "",
        workspace=wish.workspace,
        severities=frozenset(one.lower() for one in wish.severities),
        template=template,
        repeat_ms=(read_ttl_s(wish.repeat) or 2**31) * 1000,
    )


def check_monitor(settings: Settings) -> None:
    """Finds what the monitor could not start with, before any process does.

    Raises:
        SetupFault: naming it.
    """
    for name, target in settings.monitor.targets.items():
        if target.token:
            resolve_secret(target.token, f"monitor.targets.{name}.token")
    make_receivers(settings)
    remote_headers(settings)
    make_webhooks(settings)
    read_groups(settings)


def make_send(pool: Pool) -> Send:
    """Posts to the operator's own receivers: their addresses are the configuration's, never a caller's."""

    async def send(url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = await pool.fetch(
                parse_origin(f"{parts.scheme}://{parts.netloc}"), "POST", path, body, headers, timeout_s=SEND_TIMEOUT_S
            )
        except PoolError as exc:
            raise OSError(str(exc)) from exc
        return answer.status, answer.body

    return send
