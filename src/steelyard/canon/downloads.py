"""How much of a link is followed, as a workspace and a call may bound it within what the operator allows."""

from typing import TypeVar

import msgspec

from steelyard.base.errors import fault


class DownloadBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """None leaves it to whoever comes next: the call, its workspace, the operator."""

    timeout_s: float | None = None
    max_bytes: int | None = None

    def check(self) -> None:
        """Whether they make sense.

        Raises:
            Fault: `parameter_invalid`.
        """
        for name in ("timeout_s", "max_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise fault("parameter_invalid", detail=f"{name} must be above 0.", param=name)

    def within(self, outer: "DownloadBounds") -> "DownloadBounds":
        """These bounds, and no more than others."""
        return DownloadBounds(
            timeout_s=_least(self.timeout_s, outer.timeout_s), max_bytes=_least(self.max_bytes, outer.max_bytes)
        )


NO_BOUNDS = DownloadBounds()


_T = TypeVar("_T", int, float)


def _least(one: _T | None, other: _T | None) -> _T | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
