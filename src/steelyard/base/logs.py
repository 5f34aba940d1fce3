"""Log lines: JSON, one a line, on standard error. Callers pass no secrets and no prompts; nothing here adds any."""

import logging
import sys

import msgspec

from steelyard.base.clock import now_us

_EXTRA = ("request_id",)


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON object."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "at_us": now_us(),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def open_log(process: str, level: int = logging.INFO) -> None:
    """Sets up logging for a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # libraries tell of every step; only their warnings matter here
    for library in ("uvicorn", "alembic", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
