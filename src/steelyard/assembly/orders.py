"""What the supervisor tells a child process, as one line of JSON on its standard input."""

import sys

import msgspec

from steelyard.base.jsondoor import encode
from steelyard.config import Settings

#: A child that ends with this has told a bad set-up in one sentence: starting it again would not help.
EXIT_SETUP = 78
#: Where these listen, in the run directory.
FACE_SOCKET = "face.sock"
MONITOR_SOCKET = "monitor.sock"
APPS_SOCKET = "apps.sock"


class Orders(msgspec.Struct, frozen=True):
    """What the supervisor tells a process."""

    settings: Settings
    boot_id: str
    master_key: str
    #: gateway: the inherited listening socket
    listen_fd: int = -1
    #: engine host: which model
    model: str = ""


def read_orders() -> Orders:
    """Waits for the orders; meanwhile the imports above were done."""
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    return msgspec.json.decode(line, type=Orders)


def encode_orders(orders: Orders) -> bytes:
    """The line that a child reads."""
    return encode(orders) + b"\n"
