"""Our own count of tokens, for answers whose upstream gives none. Always marked `estimated`."""

#: Bytes of UTF-8 per token, over Chinese and English and JSON wrapping.
BYTES_PER_TOKEN = 4


def estimate_prompt_tokens(body_bytes: int) -> int:
    """A fair guess from the request body's size."""
    return max(1, body_bytes // BYTES_PER_TOKEN)


def estimate_answer_tokens(answer_bytes: int) -> int:
    """A fair guess from the answer's size."""
    return answer_bytes // BYTES_PER_TOKEN
