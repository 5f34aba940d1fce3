"""The error catalogue: one row per condition, in families. Data only; `base.errors` gives it behaviour."""

from steelyard.base.catalogue import apps, console, identity, knowledge, limits, media, parameters, request, server
from steelyard.base.catalogue.row import Row

ROWS: tuple[Row, ...] = (
    *request.ROWS,
    *parameters.ROWS,
    *identity.ROWS,
    *media.ROWS,
    *limits.ROWS,
    *knowledge.ROWS,
    *apps.ROWS,
    *console.ROWS,
    *server.ROWS,
)

BY_SLUG: dict[str, Row] = {row.slug: row for row in ROWS}

__all__ = ["BY_SLUG", "ROWS", "Row"]
