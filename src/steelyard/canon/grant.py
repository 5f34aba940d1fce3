"""Who calls: what a key allows."""

import msgspec

from steelyard.canon.cache import NO_CACHE, CachePolicy
from steelyard.canon.downloads import NO_BOUNDS, DownloadBounds
from steelyard.canon.inspection import NO_INSPECTION, InspectionPolicy
from steelyard.canon.limits import NO_LIMITS, Budget, Limits

#: What happens to a call whose price nobody knows while a budget in money is in force.
REFUSE, COUNT = "refuse", "count"
#: What happens to a key that is used from a new network or whose spending jumps.
OFF, ALERT, DISABLE = "off", "alert", "disable"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of one key. Empty lists allow everything."""

    key_id: str
    workspace: str
    kind: str = "api"
    name: str = ""
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    #: "weather" for all tools of a plugin, "weather/forecast" for one.
    tools: tuple[str, ...] = ()
    expires_us: int | None = None
    is_disabled: bool = False
    limits: Limits = NO_LIMITS
    #: The key that this one goes back to by rotation: they share one budget.
    lineage: str = ""
    #: Set where a temporary token stands for the key, with what narrows it.
    token_id: str = ""
    resource: str = ""
    origin: str = ""
    token_calls: int | None = None
    token_spend: Budget | None = None
    #: A worker's call for a task.
    is_task: bool = False
    #: A batch's call: charged at the price's percentage for batches.
    is_batch: bool = False
    #: A call that another call is made of: its tokens and money count, the call itself does not.
    is_inner: bool = False


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """What admission needs to know of a workspace."""

    name: str
    is_activated: bool = False
    limits: Limits = NO_LIMITS
    unknown_price: str = REFUSE
    #: Operations of the control API that take a temporary token.
    step_up: tuple[str, ...] = ()
    inspection: InspectionPolicy = NO_INSPECTION
    #: Models that are open to it; empty opens all.
    models: tuple[str, ...] = ()
    cache: CachePolicy = NO_CACHE
    downloads: DownloadBounds = NO_BOUNDS
    #: Its published apps, its plugins that are switched on, and the tools that its chat calls have unless they say otherwise.
    apps: frozenset[str] = frozenset()
    plugins: frozenset[str] = frozenset()
    tools: tuple[str, ...] = ()
    #: How many of its calls are kept whole, to be asked again.
    kept_calls: int = 0
    #: The free tokens that were granted, where their end is the end; None where calls go on and are charged.
    free_tokens: int | None = None
