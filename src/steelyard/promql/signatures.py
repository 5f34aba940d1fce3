"""What functions and aggregations take and give. Source: prometheus.md 5.6 and 5.7."""

from dataclasses import dataclass

from steelyard.promql.nodes import MATRIX, SCALAR, STRING, VECTOR


@dataclass(frozen=True, slots=True)
class Signature:
    """Kinds of arguments, and of what comes out."""

    args: tuple[str, ...]
    #: So many of the last may be left out; -1 lets the last be repeated.
    optional: int = 0
    gives: str = VECTOR
    is_experimental: bool = False


def _of(names: str, *args: str, **fields: object) -> dict[str, Signature]:
    return {name: Signature(args, **fields) for name in names.split()}  # type: ignore[arg-type]


SIGNATURES: dict[str, Signature] = {
    **_of("abs ceil floor exp ln log2 log10 sqrt sgn deg rad acos acosh asin asinh atan atanh cos cosh sin sinh tan tanh", VECTOR),
    **_of("round", VECTOR, SCALAR, optional=1),
    **_of("clamp", VECTOR, SCALAR, SCALAR),
    **_of("clamp_min clamp_max", VECTOR, SCALAR),
    **_of("pi time", gives=SCALAR),
    **_of("timestamp scalar", VECTOR),
    **_of("scalar", VECTOR, gives=SCALAR),
    **_of("vector", SCALAR),
    **_of("minute hour day_of_week day_of_month day_of_year days_in_month month year", VECTOR, optional=1),
    **_of("absent sort sort_desc", VECTOR),
    **_of("sort_by_label sort_by_label_desc", VECTOR, STRING, optional=-1, is_experimental=True),
    **_of("label_replace", VECTOR, STRING, STRING, STRING, STRING),
    **_of("label_join", VECTOR, STRING, STRING, STRING, optional=-1),
    **_of("histogram_quantile", SCALAR, VECTOR),
    **_of("histogram_fraction", SCALAR, SCALAR, VECTOR),
    **_of("histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar", VECTOR),
    **_of("rate irate increase delta idelta deriv resets changes", MATRIX),
    **_of("avg_over_time min_over_time max_over_time sum_over_time count_over_time stddev_over_time stdvar_over_time", MATRIX),
    **_of("last_over_time present_over_time absent_over_time", MATRIX),
    **_of("first_over_time mad_over_time", MATRIX, is_experimental=True),
    **_of("ts_of_max_over_time ts_of_min_over_time ts_of_last_over_time ts_of_first_over_time", MATRIX, is_experimental=True),
    **_of("quantile_over_time", SCALAR, MATRIX),
    **_of("predict_linear", MATRIX, SCALAR),
    **_of("double_exponential_smoothing", MATRIX, SCALAR, SCALAR, is_experimental=True),
}  # fmt: skip

#: aggregation -> the kind of its parameter, None where it takes none
AGGREGATIONS: dict[str, str | None] = {
    **dict.fromkeys(("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")),
    **dict.fromkeys(("topk", "bottomk", "quantile", "limitk", "limit_ratio"), SCALAR),
    "count_values": STRING,
}
EXPERIMENTAL_AGGREGATIONS = frozenset({"limitk", "limit_ratio"})
