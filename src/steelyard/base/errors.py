"""The one taxonomy of failure.

A fault names a row of the catalogue; the row states status, codes, blame, retryability, cause and cure. Adapters map
foreign exceptions to faults at their border; dialects render them. Nothing else decides what an error looks like.
"""

from steelyard.base.catalogue import BY_SLUG, ROWS, Row

#: The thirteen statuses that users learn, with the row that stands for each error.
PUBLIC_STATUSES: tuple[tuple[int, str], ...] = (
    (200, "processed"),
    (400, "body_invalid"),
    (401, "api_key_missing"),
    (403, "model_not_granted"),
    (404, "model_not_found"),
    (409, "request_already_processed"),
    (413, "file_too_large"),
    (415, "unsupported_file_format"),
    (429, "limit_requests"),
    (500, "internal_error"),
    (502, "bad_gateway"),
    (503, "overloaded"),
    (504, "upstream_timeout"),
)


class _Blank(dict[str, object]):
    """Fills places that the raiser left out with nothing."""

    def __missing__(self, key: str) -> str:
        return ""


class Fault(Exception):
    """A failure that some caller will be told about.

    Args:
        slug: the catalogue row.
        param: the request field at fault, dotted.
        retry_after_s: overrides the row's Retry-After.
        values: fill the `{places}` of the row's message.
    """

    def __init__(
        self, slug: str, *, param: str | None = None, retry_after_s: float | None = None, **values: object
    ) -> None:
        row = BY_SLUG[slug]
        self.row: Row = row
        self.param = param
        self.retry_after_s: float | None = row.retry_after_s if retry_after_s is None else retry_after_s
        self.message = row.message.format_map(_Blank(values)) if "{" in row.message else row.message
        #: HTTP status.
        self.status = row.status
        self.openai_type = row.openai_type
        self.openai_code = row.openai_code
        self.native_code = row.native_code
        self.anthropic_type = row.anthropic_type
        self.is_retryable = row.is_retryable
        #: Which kind of rule of content inspection was met; for metrics and the audit trail.
        self.inspection_rule = ""
        #: Where a limit was met: "rpm", "tpm", "concurrency" or "budget", and its `x-ratelimit-…`.
        self.limit_name = ""
        self.limit_headers: list[tuple[bytes, bytes]] = []
        super().__init__(self.message)

    @property
    def slug(self) -> str:
        """Stable name of the condition."""
        return self.row.slug


class CallerFault(Fault):
    """The caller sent something that cannot be served."""


class UpstreamFault(Fault):
    """A model, a vendor or the way to it failed."""


class RelayedFault(UpstreamFault):
    """An upstream's own refusal, told on in its words under the row that fits best."""

    def __init__(
        self,
        slug: str,
        *,
        status: int,
        message: str,
        openai_type: str | None = None,
        openai_code: str | None = None,
        native_code: str | None = None,
        anthropic_type: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        is_retryable: bool | None = None,
    ) -> None:
        super().__init__(slug, param=param)
        self.status = status
        self.message = message
        # an OpenAI error may have no code on purpose: then none is put in its place
        if openai_type is not None:
            self.openai_type, self.openai_code = openai_type, openai_code
        else:
            self.openai_code = openai_code or self.row.openai_code
        self.native_code = native_code or self.row.native_code
        self.anthropic_type = anthropic_type or self.row.anthropic_type
        self.retry_after_s = retry_after_s
        if is_retryable is not None:
            self.is_retryable = is_retryable


class OurFault(Fault):
    """This server failed."""


_TREE = {"caller": CallerFault, "upstream": UpstreamFault, "us": OurFault}


def fault(slug: str, *, param: str | None = None, retry_after_s: float | None = None, **values: object) -> Fault:
    """Builds the fault of the class that the row's blame names."""
    return _TREE[BY_SLUG[slug].blame](slug, param=param, retry_after_s=retry_after_s, **values)


class SetupFault(Exception):
    """A bad set-up, told in one sentence; a command that meets it exits with 1."""


__all__ = [
    "PUBLIC_STATUSES",
    "ROWS",
    "CallerFault",
    "Fault",
    "OurFault",
    "RelayedFault",
    "Row",
    "SetupFault",
    "UpstreamFault",
    "fault",
]
