"""Tests a link as a task would follow it, before one is paid for. Source: dashscope.md 9 and 10 for what the vendor takes."""

import secrets
from pathlib import Path
from typing import Any

from steelyard.base.clock import monotonic
from steelyard.canon.task import TaskFailure
from steelyard.engines.workshop import Workshop, WorkshopError
from steelyard.policy.downloads import failure_of
from steelyard.policy.media import sniff
from steelyard.tasks.contents import explained
from steelyard.upstream.fetcher import Fetcher, FetchError

#: What the vendor takes as a first frame.
MIN_SIDE, MAX_SIDE, MAX_BYTES = 360, 2000, 10 * 1024 * 1024
MAX_RATIO = 8.0
#: A vendor gives a download up sooner than we do.
SLOW_BYTES_S = 200_000


class LinkChecker:
    """Looks at links."""

    def __init__(self, fetcher: Fetcher, workshop: Workshop, work_dir: Path) -> None:
        self._fetcher = fetcher
        self._workshop = workshop
        self._work_dir = work_dir

    async def check(self, url: str) -> dict[str, Any]:
        """The verdict on a link: what was found on the way, `ok`, `warnings`, and the error that a task would end with."""
        path = self._work_dir / f"check-{secrets.token_hex(8)}.part"
        report: dict[str, Any] = {"url": url, "ok": False, "warnings": [], "error": None}
        try:
            await self._look(url, path, report)
        finally:
            path.unlink(missing_ok=True)
        return report

    async def _look(self, url: str, path: Path, report: dict[str, Any]) -> None:
        began = monotonic()
        try:
            with path.open("wb") as file:
                found = await self._fetcher.fetch(url, file.write)
        except FetchError as error:
            report |= {"host": error.host, "status": error.status or None, "seconds": round(monotonic() - began, 2)}
            report["error"] = show_failure(explained(error, self._fetcher.limits.max_bytes))
            return
        with path.open("rb") as file:
            kind = sniff(file.read(4096), url.partition("?")[0])
        seconds = max(monotonic() - began, 0.001)
        report |= {
            "redirects": len(found.hops),
            "address": found.address,
            "status": found.status,
            "declared_type": found.content_type,
            "found_type": kind,
            "bytes": found.size_bytes,
            "seconds": round(seconds, 2),
            "bytes_per_second": int(found.size_bytes / seconds),
        }
        report["ok"] = True
        declared = found.content_type.partition(";")[0].strip().lower()
        if declared and declared != kind:
            report["warnings"].append(f"The server calls it {declared}, and it is {kind}: some vendors refuse that.")
        if found.size_bytes > 500_000 and found.size_bytes / seconds < SLOW_BYTES_S:
            report["warnings"].append(
                "It comes slowly: a vendor may give the download up. Publish it here: `steelyard media publish`."
            )
        if kind.startswith("image/"):
            await self._look_at_picture(path, found.size_bytes, report)
        elif kind.startswith(("video/", "audio/")):
            await self._look_at_recording(path, report)
        elif kind.startswith("text/") or kind == "application/octet-stream":
            report["ok"] = False
            report["error"] = show_failure(failure_of("not_an_image", reason=f"it is {kind}"))

    async def _look_at_picture(self, path: Path, size_bytes: int, report: dict[str, Any]) -> None:
        try:
            seen = await self._workshop.run("describe", {"path": str(path)}, self._work_dir)
        except WorkshopError as error:
            report["ok"] = False
            report["error"] = show_failure(failure_of("not_an_image", reason=str(error)))
            return
        width, height = seen["width"], seen["height"]
        report |= {"width": width, "height": height, "has_alpha": seen["has_alpha"]}
        warnings = report["warnings"]
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            warnings.append(
                f"{width} x {height}: as a first frame the vendor takes sides of {MIN_SIDE} to {MAX_SIDE} pixels."
            )
        if size_bytes > MAX_BYTES:
            warnings.append(f"{size_bytes} bytes: as a first frame the vendor takes {MAX_BYTES} at most.")
        if seen["has_alpha"]:
            warnings.append("It has an alpha channel, which the vendor's video models refuse.")

    async def _look_at_recording(self, path: Path, report: dict[str, Any]) -> None:
        try:
            report |= await self._workshop.run("describe_recording", {"path": str(path)}, self._work_dir)
        except WorkshopError as error:
            if error.kind == "missing":
                report["warnings"].append("Its pictures and sound were not looked at: that needs the extra `video`.")
                return
            report["ok"] = False
            report["error"] = show_failure(failure_of("not_a_recording", reason=str(error)))


def show_failure(failure: TaskFailure) -> dict[str, Any]:
    """The error as a task's output tells it."""
    return {"code": failure.code, "message": failure.message, "detail": failure.detail}
