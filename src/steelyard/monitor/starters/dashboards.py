"""Dashboards for Grafana, as tables of panels: what each is called in English and Chinese, its unit and its queries."""

from dataclasses import dataclass
from typing import Any

LINE, NUMBER, TABLE = "timeseries", "stat", "table"
WIDTH, HEIGHT, COLUMNS = 12, 8, 24
SCHEMA = 39
#: Of a data source; whoever has another changes it in the dashboard's variable.
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` are (expression, legend)."""

    title: str
    title_zh: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = LINE


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard."""

    name: str
    title: str
    title_zh: str
    panels: tuple[Panel, ...]


_W = 'workspace_id=~"$workspace"'

CALLS = Dashboard(
    "steelyard-calls",
    "steelyard: calls",
    "steelyard：调用",
    (
        Panel("Calls a minute", "每分钟调用数（RPM）", "short", (
            (f"sum by (model) (rate(llm_requests_total{{{_W}}}[$__rate_interval])) * 60", "{{model}}"),
        )),
        Panel("Tokens a minute", "每分钟 Token 数（TPM）", "short", (
            (f'sum by (usage_type) (rate(llm_usage_total{{{_W},usage_type=~".*_tokens"}}[$__rate_interval])) * 60', "{{usage_type}}"),
        )),
        Panel("Share of calls that fail", "失败率", "percentunit", (
            (f'sum by (model) (rate(llm_requests_total{{{_W},status_code=~"5.."}}[$__rate_interval])) / sum by (model) (rate(llm_requests_total{{{_W}}}[$__rate_interval]))', "{{model}}"),
        )),
        Panel("Share of calls refused by a limit (429)", "限流（429）占比", "percentunit", (
            (f'sum(rate(llm_requests_total{{{_W},status_code="429"}}[$__rate_interval])) / sum(rate(llm_requests_total{{{_W}}}[$__rate_interval]))', "429"),
        )),
        Panel("Time to the first token", "首 Token 延时", "s", (
            (f"histogram_quantile(0.5, sum by (le) (rate(llm_time_to_first_token_seconds_bucket{{{_W}}}[$__rate_interval])))", "p50"),
            (f"histogram_quantile(0.95, sum by (le) (rate(llm_time_to_first_token_seconds_bucket{{{_W}}}[$__rate_interval])))", "p95"),
        )),
        Panel("Duration of calls", "调用时长", "s", (
            (f"histogram_quantile(0.5, sum by (le) (rate(llm_request_duration_seconds_bucket{{{_W}}}[$__rate_interval])))", "p50"),
            (f"histogram_quantile(0.99, sum by (le) (rate(llm_request_duration_seconds_bucket{{{_W}}}[$__rate_interval])))", "p99"),
        )),
        Panel("Time per output token", "非首 Token 平均耗时", "s", (
            (f"sum by (model) (rate(llm_time_per_output_token_seconds_sum{{{_W}}}[$__rate_interval])) / sum by (model) (rate(llm_time_per_output_token_seconds_count{{{_W}}}[$__rate_interval]))", "{{model}}"),
        )),
        Panel("Calls under way", "进行中的调用", "short", ((f"sum by (model) (llm_requests_in_flight{{{_W}}})", "{{model}}"),)),
        Panel("Calls by error, last hour", "最近一小时的错误", "short", (
            (f'sort_desc(sum by (model, status_code, error_code) (increase(llm_requests_total{{{_W},status_code!="200"}}[1h])) > 0)', ""),
        ), TABLE),
        Panel("Refused by content inspection", "内容审核拦截", "short", (
            (f"sum by (stage) (increase(llm_moderation_blocked_total{{{_W}}}[1h]))", "{{stage}}"),
        )),
    ),
)  # fmt: skip

COSTS = Dashboard(
    "steelyard-costs",
    "steelyard: costs",
    "steelyard：费用",
    (
        Panel("Cost of the last day", "最近一天的费用", "short", (
            (f"sum by (currency) (increase(llm_cost_total{{{_W}}}[1d]))", "{{currency}}"),
        ), NUMBER),
        Panel("Free tokens are left for so many days", "免费额度可用天数", "d", (
            (f'llm_free_tokens_left{{{_W}}} / (sum by (workspace_id) (increase(llm_usage_total{{{_W},usage_type=~"input_tokens|output_tokens"}}[1d])) > 0)', "{{workspace_id}}"),
        ), NUMBER),
        Panel("Free tokens left", "剩余免费额度", "short", ((f"llm_free_tokens_left{{{_W}}}", "{{workspace_id}}"),)),
        Panel("Spent of budgets", "预算使用率", "percentunit", ((f"llm_budget_used_ratio{{{_W}}}", "{{workspace_id}} {{apikey_id}} {{unit}}/{{per}}"),)),
        Panel("Cost by model, a day", "各模型每日费用", "short", (
            (f"sum by (model, currency) (increase(llm_cost_total{{{_W}}}[1d]))", "{{model}} {{currency}}"),
        )),
        Panel("Tokens by model, a day", "各模型每日 Token", "short", (
            (f'sum by (model) (increase(llm_usage_total{{{_W},usage_type=~"input_tokens|output_tokens"}}[1d]))', "{{model}}"),
        )),
        Panel("Tokens answered from upstream caches", "上游缓存命中的 Token 占比", "percentunit", (
            (f'sum(rate(llm_usage_total{{{_W},usage_type="cache_tokens"}}[1h])) / sum(rate(llm_usage_total{{{_W},usage_type="input_tokens"}}[1h]))', "cache"),
        )),
    ),
)  # fmt: skip

TASKS = Dashboard(
    "steelyard-tasks",
    "steelyard: tasks",
    "steelyard：任务",
    (
        Panel("Tasks that are not over", "未结束的任务", "short", (("sum by (kind, status) (task_open)", "{{kind}} {{status}}"),)),
        Panel("The oldest waiting task", "最久的等待", "s", (("task_oldest_waiting_seconds", "{{kind}}"),)),
        Panel("Ended a minute", "每分钟结束数", "short", (
            ("sum by (kind, status) (rate(task_ended_total[$__rate_interval])) * 60", "{{kind}} {{status}}"),
        )),
        Panel("Failed image tasks by cause, last day", "图像任务失败原因（一天）", "short", (
            ('sum by (error_code) (increase(llm_requests_total{operation=~"image.*",status_code!="200"}[1d])) > 0', "{{error_code}}"),
        ), TABLE),
        Panel("Images, a day", "每日图片数", "short", (('sum by (model) (increase(llm_usage_total{usage_type="image_count"}[1d]))', "{{model}}"),)),
        Panel("Seconds of video and sound, a day", "每日音视频秒数", "s", (('sum by (model) (increase(llm_usage_total{usage_type="duration"}[1d]))', "{{model}}"),)),
        Panel("Webhooks told of tasks", "任务回调", "short", (("sum by (result) (rate(task_webhook_tries_total[$__rate_interval])) * 60", "{{result}}"),)),
    ),
)  # fmt: skip

PLATFORM = Dashboard(
    "steelyard-platform",
    "steelyard: the platform (admin key)",
    "steelyard：平台（需管理员密钥）",
    (
        Panel("Targets", "采集目标", "short", (("up", "{{job}} {{instance}}"),)),
        Panel("Upstreams left alone", "被熔断的上游", "short", (("sum by (backend) (llm_breaker_open)", "{{backend}}"),)),
        Panel("Attempts that failed", "失败的上游尝试", "short", (
            ("sum by (backend, error_code) (rate(llm_attempts_failed_total[$__rate_interval])) * 60", "{{backend}} {{error_code}}"),
        )),
        Panel("Client connections", "客户端连接", "short", (("sum(gateway_connections)", "connections"),)),
        Panel("Series", "时间序列数", "short", (("monitor_tsdb_series", "series"),)),
        Panel("Rules", "规则评估", "short", (("sum by (result) (rate(monitor_rule_evaluations_total[$__rate_interval])) * 60", "{{result}}"),)),
        Panel("Alerts that fire", "触发中的告警", "short", (('sum by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),)),
    ),
)  # fmt: skip

DASHBOARDS = (CALLS, COSTS, TASKS, PLATFORM)


def make_dashboard(one: Dashboard, lang: str) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    is_zh = lang == "zh"
    variables: list[dict[str, Any]] = [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "数据源" if is_zh else "Data source"}
    ]
    if any("$workspace" in query for panel in one.panels for query, _ in panel.queries):
        variables.append(
            {
                "name": "workspace", "type": "query", "label": "业务空间" if is_zh else "Workspace", "datasource": SOURCE,
                "query": {"query": "label_values(llm_requests_total, workspace_id)", "refId": "workspaces"},
                "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2, "current": {"text": "All", "value": "$__all"},
            }
        )  # fmt: skip
    return {
        "uid": one.name, "title": one.title_zh if is_zh else one.title, "tags": ["steelyard"], "schemaVersion": SCHEMA,
        "editable": True, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "templating": {"list": variables},
        "panels": [_make_panel(number, panel, is_zh=is_zh) for number, panel in enumerate(one.panels)],
    }  # fmt: skip


def _make_panel(number: int, panel: Panel, *, is_zh: bool) -> dict[str, Any]:
    left, top = number % (COLUMNS // WIDTH) * WIDTH, number // (COLUMNS // WIDTH) * HEIGHT
    return {
        "id": number + 1, "type": panel.kind, "title": panel.title_zh if is_zh else panel.title, "datasource": SOURCE,
        "gridPos": {"x": left, "y": top, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE,
                "instant": panel.kind != LINE, "range": panel.kind == LINE, "format": "table" if panel.kind == TABLE else "time_series",
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip
