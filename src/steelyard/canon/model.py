"""Models, the targets that answer for them, and their prices."""

import msgspec

#: What an embedded model's name starts with.
LOCAL_PREFIX = "local/"


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Micro-units of a currency per 1,000,000 tokens."""

    version: str = "free"
    currency: str = "CNY"
    input_micros: int = 0
    output_micros: int = 0
    cached_micros: int | None = None
    #: None charges reasoning as output.
    reasoning_micros: int | None = None
    #: Micro-units for each picture.
    image_micros: int = 0
    #: Micro-units for each second of video or sound, by resolution; "" stands for all others.
    second_micros: dict[str, int] = {}
    #: What batches pay of it.
    batch_percent: int = 50
    #: False where nobody has said what the model costs: the workspace's policy decides then.
    is_known: bool = True

    @property
    def is_free(self) -> bool:
        """Whether no token costs anything."""
        amounts = (self.input_micros, self.output_micros, self.cached_micros, self.reasoning_micros, self.image_micros)
        return not any(amounts) and not self.second_micros


FREE = Price()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream that can answer for a model."""

    provider: str
    model: str
    #: The API that it speaks: "openai", "dashscope" or "anthropic".
    api: str = "openai"
    #: `http(s)://host[:port]/prefix`, or `unix:/path/to.sock:/prefix`.
    base_url: str
    #: Where its asynchronous tasks are asked for by the native API; empty where it has none.
    tasks_url: str = ""
    api_key: str = ""
    operations: tuple[str, ...] = ("chat", "completions")
    #: "tools", "image", "audio", "video", "search", "thinking", "logprobs".
    capabilities: tuple[str, ...] = ()
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    #: Cap sent where the caller set none; None leaves it to the upstream.
    default_output_tokens: int | None = None
    price: Price = FREE
    is_local: bool = False
    #: Whether its answers are made of other calls, each of which is admitted and settled for itself.
    is_composite: bool = False
    #: Lower numbers are tried first; equal ones share the calls by weight.
    priority: int = 0
    weight: int = 1
    #: Calls under way at once, per gateway process; None sets no limit.
    max_concurrency: int | None = None
    #: Whether it is left alone for a while when it keeps failing.
    has_breaker: bool = True
    #: Whether the upstream obeys max_tokens. One that does not cannot be held to a budget by lowering the cap.
    obeys_cap: bool = True
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 300.0
    chunk_timeout_s: float = 120.0
    total_timeout_s: float = 3600.0

    @property
    def label(self) -> str:
        """`provider/model`, as `x-steelyard-target` shows it."""
        return f"{self.provider}/{self.model}"


#: How a model's calls are spread over targets of one priority.
WEIGHTED, FASTEST = "weighted", "fastest"


#: What becomes of fields that a target's API has no place for: those that change what the answer is are refused and the rest
#: dropped; all refused; all dropped; all passed on under their own names. What is dropped is told in a header.
UNSUPPORTED = CAREFUL, REFUSE, DROP, PASS = "careful", "refuse", "drop", "pass"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers may use, and the route behind it."""

    name: str
    targets: tuple[Target, ...]
    owned_by: str = "system"
    created: int = 0
    strategy: str = WEIGHTED
    #: Attempts upstream for one call, the first one included.
    max_attempts: int = 3
    #: Without a first byte for this long, a second target is asked too and the first answer wins; None never does.
    hedge_after_s: float | None = None
    unsupported: str = CAREFUL
    #: Who declared it: "file", "set" (a route set while running), "provider" (a name that it brings) or "embedded".
    origin: str = "file"
    #: True where an embedded model answers for a vendor's name.
    is_stand_in: bool = False
