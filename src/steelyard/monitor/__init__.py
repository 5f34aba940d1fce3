"""Samples over time: kept in memory and on disk, read by the evaluator of `promql`."""
