"""What a model's tokenizer makes of a conversation."""

import msgspec


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Ids and texts may be missing where an API tells the count alone."""

    count: int
    ids: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
