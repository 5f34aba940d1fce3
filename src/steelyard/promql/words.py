"""A query's tree in words, a line a part, the outermost first. Each word in English and Chinese."""

from steelyard.promql.labels import NAME
from steelyard.promql.nodes import (
    Aggregation,
    At,
    Binary,
    Call,
    Matcher,
    Negation,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Subquery,
    Text,
)
from steelyard.promql.numbers import format_duration, format_sample

#: A text in each language.
Words = tuple[str, str]
#: (how deep, the text)
Line = tuple[int, Words]

_MATCHES: dict[str, Words] = {
    "=": ("is", "等于"),
    "!=": ("is not", "不等于"),
    "=~": ("matches", "匹配"),
    "!~": ("does not match", "不匹配"),
}
_AGGREGATIONS: dict[str, Words] = {
    "sum": ("the sum", "求和"),
    "avg": ("the mean", "平均值"),
    "min": ("the smallest", "最小值"),
    "max": ("the largest", "最大值"),
    "count": ("how many series", "序列数"),
    "group": ("one for each group", "每组为 1"),
    "stddev": ("the standard deviation", "标准差"),
    "stdvar": ("the variance", "方差"),
    "topk": ("the largest few", "最大的若干个"),
    "bottomk": ("the smallest few", "最小的若干个"),
    "quantile": ("a quantile", "分位数"),
    "count_values": ("how many series have each value", "各取值的序列数"),
    "limitk": ("any few", "任意若干个"),
    "limit_ratio": ("any share", "任意一部分"),
}
_FUNCTIONS: dict[str, Words] = {
    "rate": ("growth a second, averaged over the window", "窗口内的平均每秒增长"),
    "irate": ("growth a second, between the last two samples", "最后两个样本间的每秒增长"),
    "increase": ("growth over the window", "窗口内的增长量"),
    "delta": ("change over the window", "窗口内的变化量"),
    "histogram_quantile": ("the value below which a share of observations lies", "直方图分位数"),
    "absent": ("1 where nothing is there", "没有数据时为 1"),
    "avg_over_time": ("the mean over the window", "窗口内平均值"),
    "sum_over_time": ("the sum over the window", "窗口内求和"),
    "min_over_time": ("the smallest over the window", "窗口内最小值"),
    "max_over_time": ("the largest over the window", "窗口内最大值"),
    "count_over_time": ("how many samples in the window", "窗口内样本数"),
    "last_over_time": ("the newest in the window", "窗口内最新值"),
    "time": ("the time of evaluation", "求值时间"),
}


def explain_query(node: Node) -> list[Line]:
    """What a query asks, from the outside in."""
    return _lines(node, 0)


def _lines(node: Node, depth: int) -> list[Line]:
    match node:
        case Paren():
            return _lines(node.expr, depth)
        case Number():
            return [(depth, _both(f"the number {format_sample(node.value)}", f"数字 {format_sample(node.value)}"))]
        case Text():
            return [(depth, _both(f"the text {node.value!r}", f"文本 {node.value!r}"))]
        case Selector():
            return [(depth, _series(node))]
        case Range():
            text = format_duration(node.range)
            english, chinese = _series(node.selector)
            return [(depth, _both(f"all samples of the last {text}: {english}", f"最近 {text} 的所有样本：{chinese}"))]
        case Subquery():
            text, step = format_duration(node.range), "" if node.step is None else format_duration(node.step)
            english = f"over the last {text}" + (f", every {step}" if step else "") + _moved(node.offset, node.at)[0]
            chinese = f"在最近 {text} 内" + (f"，每 {step}" if step else "") + _moved(node.offset, node.at)[1]
            return [(depth, _both(english, chinese)), *_lines(node.expr, depth + 1)]
        case Call():
            known = _FUNCTIONS.get(node.function)
            words = (
                _both(f"{node.function}: {known[0]}", f"{node.function}：{known[1]}")
                if known
                else _both(node.function, node.function)
            )
            return [(depth, words), *(line for one in node.args for line in _lines(one, depth + 1))]
        case Aggregation():
            inner = [] if node.param is None else _lines(node.param, depth + 1)
            return [(depth, _aggregation(node)), *inner, *_lines(node.expr, depth + 1)]
        case Binary():
            return [*_lines(node.left, depth + 1), (depth, _operator(node)), *_lines(node.right, depth + 1)]
        case Negation():
            return [(depth, _both("minus", "取负")), *_lines(node.expr, depth + 1)]


def _both(english: str, chinese: str) -> Words:
    return english, chinese


def _series(node: Selector) -> Words:
    name = node.name
    rest = [one for one in node.matchers if not (one.name == NAME and one.op == "=" and one.value == name)]
    english, chinese = (f"series {name}", f"序列 {name}") if name else ("series", "序列")
    if rest:
        english += " where " + " and ".join(_matcher(one, 0) for one in rest)
        chinese += "，其中 " + " 且 ".join(_matcher(one, 1) for one in rest)
    moved = _moved(node.offset, node.at)
    return english + moved[0], chinese + moved[1]


def _matcher(one: Matcher, language: int) -> str:
    return f'{one.name} {_MATCHES[one.op][language]} "{one.value}"'


def _moved(offset: int, at: At) -> Words:
    english = chinese = ""
    if isinstance(at, str):
        english, chinese = f", at the query's {at}", "，在查询的" + ("开始" if at == "start" else "结束")
    elif at is not None:
        english, chinese = f", at {at / 1000:g}", f"，在 {at / 1000:g}"
    if offset:
        text = format_duration(abs(offset))
        english += f", {text} {'earlier' if offset > 0 else 'later'}"
        chinese += f"，{'提前' if offset > 0 else '推后'} {text}"
    return english, chinese


def _aggregation(node: Aggregation) -> Words:
    english, chinese = _AGGREGATIONS[node.op]
    if not node.is_grouped:
        return english + " of all", chinese + "（全部）"
    names = ", ".join(node.names) or "nothing"
    if node.is_without:
        return f"{english} by all labels but {names}", f"{chinese}，按除 {names} 外的标签分组"
    return f"{english} for each {names}", f"{chinese}，按 {names} 分组"


def _operator(node: Binary) -> Words:
    english = chinese = node.op
    if node.returns_bool:
        english, chinese = english + " (as 0 or 1)", chinese + "（结果为 0 或 1）"
    matching = node.matching
    names = ", ".join(matching.names)
    if matching.is_on:
        english, chinese = f"{english}, paired by {names or 'nothing'}", f"{chinese}，按 {names or '空'} 配对"
    elif names:
        english, chinese = f"{english}, paired by all labels but {names}", f"{chinese}，按除 {names} 外的标签配对"
    if matching.card in ("many-to-one", "one-to-many"):
        side = ("left", "左") if matching.card == "many-to-one" else ("right", "右")
        english, chinese = f"{english}, several on the {side[0]}", f"{chinese}，{side[1]}侧可有多条"
    return english, chinese
