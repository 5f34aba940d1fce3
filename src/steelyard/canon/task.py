"""Asynchronous tasks: what is asked, what came of it, and the states between. Frozen, whatever API they come by."""

from typing import Any

import msgspec

from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds

PENDING, RUNNING, SUCCEEDED, FAILED, CANCELED, UNKNOWN = (
    "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN",
)  # fmt: skip
#: States that a task does not leave.
OVER = frozenset({SUCCEEDED, FAILED, CANCELED})

#: Kinds of work.
IMAGE, VIDEO, EMBEDDINGS, TRANSCRIPTION, SPEECH, BATCH, PARSING, INGESTION = (
    "image", "video", "embeddings", "transcription", "speech", "batch", "parsing", "ingestion",
)  # fmt: skip
#: kind -> the operation that a key needs for it
OPERATION_OF = {
    IMAGE: "images",
    VIDEO: "videos",
    EMBEDDINGS: "embeddings",
    TRANSCRIPTION: "transcription",
    SPEECH: "speech",
    BATCH: "batches",
    PARSING: "knowledge",
    INGESTION: "knowledge",
}


#: Kinds that are made of calls to models: each of these is charged by itself, and the task is not.
OF_CALLS = frozenset({BATCH, EMBEDDINGS, PARSING, INGESTION})

#: Kinds that have an API of their own to be told by.
OF_KNOWLEDGE = frozenset({PARSING, INGESTION})

#: Which slots of workers a task takes.
LOCAL_LANE, VENDOR_LANE, CALLS_LANE = "local", "vendor", "calls"


class TaskAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is to do. The fields are common to all APIs; `body` is the caller's own, for targets of the same API."""

    kind: str
    model: str
    #: The API that it came by, and which of its services: they say in which form the task is told.
    api: str
    service: str
    prompt: str = ""
    negative_prompt: str = ""
    n: int = 1
    #: (width, height) in pixels; None leaves it to the model
    size: tuple[int, int] | None = None
    seed: int | None = None
    #: Links to pictures to begin from, in the caller's order.
    images: tuple[str, ...] = ()
    first_frame: str = ""
    last_frame: str = ""
    #: A file of texts, or of speech.
    files: tuple[str, ...] = ()
    #: "480P", "720P" or "1080P"
    resolution: str = ""
    duration_s: int | None = None
    fps: int | None = None
    #: "png", "jpeg" or "webp"
    image_format: str = "png"
    #: Everything else that may matter to a target, such as `text_type`.
    settings: dict[str, Any] = {}
    body: dict[str, Any] = {}
    #: Whether `oss://` links may be resolved.
    resolves_oss: bool = False
    #: How much of its links is followed.
    downloads: DownloadBounds = NO_BOUNDS
    #: What narrows the calls that the task makes, where a temporary token submitted it.
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    #: How long the links of the results are good, 0 for ever; None takes the installation's time.
    ttl_s: int | None = None
    #: Where to tell of its end.
    webhook: str = ""

    @property
    def links(self) -> tuple[str, ...]:
        """Every link to media, each once."""
        found = (*self.images, self.first_frame, self.last_frame, *self.files)
        return tuple(dict.fromkeys(link for link in found if link))


class TaskItem(msgspec.Struct, frozen=True, kw_only=True):
    """One result: an object, or why there is none."""

    object_id: str = ""
    name: str = ""
    orig_prompt: str = ""
    actual_prompt: str = ""
    code: str = ""
    message: str = ""
    #: What a result says beside its link.
    extra: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task that succeeded, and what it took."""

    items: tuple[TaskItem, ...] = ()
    usage: dict[str, Any] = {}
    image_count: int = 0
    video_seconds: int = 0
    audio_seconds: int = 0
    #: Of speech made, these are characters where its vendor counts them.
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Members of the output beside the results.
    extra: dict[str, Any] = {}


class TaskFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task failed. `code` and `message` are the vendor's documented ones; `detail` says what happened here."""

    code: str
    message: str
    detail: dict[str, Any] = {}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its workspace sees it. Times in microseconds since 1970."""

    id: str
    workspace: str
    key_id: str
    #: Of the call that submitted it.
    request_id: str
    kind: str
    model: str
    status: str
    ask: TaskAsk
    created_us: int
    started_us: int | None = None
    ended_us: int | None = None
    #: Results so far, of how many.
    done_count: int = 0
    total_count: int = 1
    outcome: Outcome | None = None
    failure: TaskFailure | None = None
    target: str = ""

    @property
    def is_over(self) -> bool:
        """Whether its state will not change any more."""
        return self.status in OVER
