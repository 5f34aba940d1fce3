"""A call's story for whoever helps: its receipt, what its error means, who could answer, and how the server is set up. No secret, no text."""

import platform
from datetime import UTC, datetime
from typing import Any

from steelyard import __version__
from steelyard.base.catalogue import BY_SLUG
from steelyard.canon.model import Model
from steelyard.control.routes import show_route


def make_bundle(receipt: dict[str, Any], model: Model | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that is known of a call.

    Args:
        receipt: as `usage.get_receipt` shows it.
        model: the one that was asked for, as it is now; None where it is gone.
        settings: as they are shown, secrets masked.
    """
    errors = {one["error"] for one in (receipt, *receipt["attempts"], *receipt["steps"])} - {None}
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "steelyard": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "receipt": receipt,
        "errors": {slug: _told(slug) for slug in sorted(errors) if slug in BY_SLUG},
        "route": None if model is None else show_route(model),
        "settings": settings,
    }


def _told(slug: str) -> dict[str, Any]:
    row = BY_SLUG[slug]
    return {
        "status": row.status,
        "message": row.shown_message,
        "cause": {"en": row.cause[0], "zh": row.cause[1]},
        "cure": {"en": row.cure[0], "zh": row.cure[1]},
        "retry": row.is_retryable,
    }
