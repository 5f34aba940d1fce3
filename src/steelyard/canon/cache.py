"""Whether a workspace's answers are kept for calls that are exactly the same."""

import msgspec


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Off while `ttl_s` is 0."""

    #: Seconds that an answer is good for.
    ttl_s: int = 0
    #: What a kept answer costs, as a share of its first price. Its tokens count as they did.
    price_percent: int = 0


NO_CACHE = CachePolicy()
