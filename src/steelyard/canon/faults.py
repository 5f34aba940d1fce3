"""A fault on its way between processes."""

import msgspec

from steelyard.base.errors import Fault, fault


class ToldFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it travels, with what was made of its row."""

    slug: str
    message: str
    status: int = 0
    openai_type: str = ""
    openai_code: str | None = None
    native_code: str = ""
    anthropic_type: str = ""
    param: str | None = None
    retry_after_s: float | None = None
    is_retryable: bool = False
    limit_name: str = ""
    limit_headers: list[tuple[str, str]] = []

    def to_fault(self) -> Fault:
        """The fault itself."""
        failure = fault(self.slug, param=self.param, retry_after_s=self.retry_after_s)
        failure.message = self.message
        failure.is_retryable = self.is_retryable
        failure.limit_name = self.limit_name
        failure.limit_headers = [(name.encode(), value.encode()) for name, value in self.limit_headers]
        if self.status:
            failure.status = self.status
            failure.openai_type, failure.openai_code = self.openai_type, self.openai_code
            failure.native_code, failure.anthropic_type = self.native_code, self.anthropic_type
        return failure


def told(failure: Fault) -> ToldFault:
    """A fault as it travels."""
    return ToldFault(
        slug=failure.slug,
        message=failure.message,
        status=failure.status,
        openai_type=failure.openai_type,
        openai_code=failure.openai_code,
        native_code=failure.native_code,
        anthropic_type=failure.anthropic_type,
        param=failure.param,
        retry_after_s=failure.retry_after_s,
        is_retryable=failure.is_retryable,
        limit_name=failure.limit_name,
        limit_headers=[(name.decode(), value.decode()) for name, value in failure.limit_headers],
    )
