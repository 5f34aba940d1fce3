"""How many tokens a call took."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one call. `cached_tokens` is part of the prompt, `reasoning_tokens` part of the completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    image_count: int = 0
    video_seconds: int = 0
    #: Of sound that was listened to.
    audio_seconds: int = 0
    #: By which seconds of video are priced: "480P", "720P" or "1080P".
    resolution: str = ""
    #: True where no upstream said it and the count is ours.
    is_estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


NO_USAGE = Usage()
