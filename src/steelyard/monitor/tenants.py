"""Samples that come from outside: whose they are, what they may be called, how many there may be. Source: prometheus.md 1.8 and 8.2."""

import re
from collections.abc import Mapping

from steelyard.promql.labels import NAME, Labels, get, make_labels
from steelyard.promql.nodes import EQUAL, Matcher, Node
from steelyard.promql.tenancy import restrict

#: Whose series these are; what the platform counts of a workspace bears it too.
WORKSPACE = "workspace_id"
#: Series that a workspace may have pushed at once.
MAX_SERIES = 20_000
MAX_LABELS = 40
MAX_NAME_CHARS = 200
MAX_VALUE_CHARS = 2_000
#: The platform's own names. `job_` is not among them: what scripts push is often called so; the platform's two jobs' metrics are.
RESERVED = re.compile(
    r"llm_.*|model_(?:call|first_token|generation|usage|tps|total_amount|input_amount|output_amount|cache_hit|ptu)\w*"
    r"|app_(?:runs?|node)_\w+|rag_\w+|monitor_\w+|task_(?:open|running|ended_total|webhook_\w+)|job_total|job_duration_seconds\w*"
    r"|gateway_\w+|gen_ai_\w+|push_time_seconds"
)  # fmt: skip
#: The `job` of the platform's own series: an alert on `up` of it must mean it.
OWN_JOB = "steelyard"
_OWN_NAMES = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE"})


class Refused(ValueError):
    """Samples that are not taken; its text says why, and sending them again would not help."""


def own_labels(workspace: str, pairs: Mapping[str, str]) -> Labels:
    """A label set as a workspace's own, whatever it says of that itself."""
    return make_labels({**pairs, WORKSPACE: workspace})


def check_series(labels: Labels) -> None:
    """Whether a series from outside may be.

    Raises:
        Refused: naming what is wrong.
    """
    name = get(labels, NAME)
    if not name:
        raise Refused("a sample without a metric name")
    if RESERVED.fullmatch(name):
        raise Refused(f"the name {name!r} is the platform's own; choose another")
    if name in _OWN_NAMES and get(labels, "job") == OWN_JOB:
        raise Refused(f"{name!r} of the job {OWN_JOB!r} is the platform's own; give it a job of yours")
    if len(labels) > MAX_LABELS:
        raise Refused(f"{name!r} has {len(labels)} labels; {MAX_LABELS} are allowed")
    for key, value in labels:
        if len(key) > MAX_NAME_CHARS or len(value) > MAX_VALUE_CHARS:
            raise Refused(f"a label of {name[:80]!r} is longer than {MAX_NAME_CHARS} characters, or its value than {MAX_VALUE_CHARS}")  # fmt: skip


def own_matcher(workspace: str) -> Matcher:
    """What every selector of a workspace's is given."""
    return Matcher(WORKSPACE, EQUAL, workspace, is_imposed=True)


def narrow(node: Node, workspace: str | None) -> Node:
    """A query of what may be seen: of one workspace, or of all."""
    return node if workspace is None else restrict(node, own_matcher(workspace))
