"""PromQL, pure: parse, check, evaluate whole ranges over a port of one method. Source: prometheus.md 5 and 6 (semantics of Prometheus 3.x)."""
