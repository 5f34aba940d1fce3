"""A process that evaluates heavy queries for the monitor: it may be killed at any time, and takes the samples from whoever asks.

Its standard input and output carry frames; it ends with its input.
"""

import contextlib
import os
import resource
import sys
import time

from steelyard.base.jsondoor import encode
from steelyard.monitor.frames import MAX_SAMPLES, Failed, Head, Pick, Shown, Wish, pack, read_frame, unpack_cohorts
from steelyard.monitor.tenants import narrow
from steelyard.promql.answers import notes_of, show_result
from steelyard.promql.context import Options
from steelyard.promql.engine import Result, query_instant, query_range
from steelyard.promql.errors import EXECUTION, TIMEOUT, QueryError
from steelyard.promql.nodes import Matcher
from steelyard.promql.parse import parse
from steelyard.promql.values import Cohort

#: Heavy queries leave the processors to everybody else.
NICENESS = 5
MEMORY_BYTES = 4 * 1024**3


def _read(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)
    return data


def _write(head: Head, blobs: list[bytes | memoryview] | None = None) -> None:
    for piece in pack(head, blobs):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


class _Asked:
    """Implements `promql.context.Samples`: asks the monitor."""

    def select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Cohort]:
        told = [(one.name, one.op, one.value, one.is_imposed) for one in matchers]
        _write(Head(pick=Pick(matchers=told, start_ms=start_ms, end_ms=end_ms)))
        head, blobs = read_frame(_read)
        if head.failed is not None:
            raise QueryError(head.failed.text, head.failed.kind)
        assert head.given is not None
        return unpack_cohorts(head.given, blobs)


def _evaluate(wish: Wish) -> Result:
    node = narrow(parse(wish.query), wish.workspace)
    give_up_at = time.monotonic() + wish.give_up_in_s

    def check() -> None:
        if time.monotonic() > give_up_at:
            raise QueryError("query timed out in expression evaluation", TIMEOUT)

    options = Options(lookback_ms=wish.lookback_ms, max_samples=MAX_SAMPLES)
    if wish.step_ms:
        return query_range(node, _Asked(), wish.start_ms, wish.end_ms, wish.step_ms, options, check)
    return query_instant(node, _Asked(), wish.start_ms, options, check)


def _answer(wish: Wish) -> None:
    try:
        result = _evaluate(wish)
        shown, is_cut = show_result(result, is_range=wish.step_ms > 0, limit=wish.limit)
        head = Shown(
            is_cut=is_cut,
            warnings=notes_of(result.warnings, "warning"),
            infos=notes_of(result.infos, "info"),
            samples=result.samples,
        )
        _write(Head(shown=head), [encode(shown)])
    except QueryError as exc:
        _write(Head(failed=Failed(kind=exc.kind, text=str(exc))))
    except MemoryError:
        text = "query processing would load too many samples into memory in query execution"
        _write(Head(failed=Failed(kind=EXECUTION, text=text)))


def main() -> None:
    """Answers until nobody asks any more."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    # whoever asked may end at any time: then there is nobody to tell
    with contextlib.suppress(BrokenPipeError):
        while True:
            head, _ = read_frame(_read)
            assert head.wish is not None
            _answer(head.wish)
    os._exit(0)


if __name__ == "__main__":
    main()
