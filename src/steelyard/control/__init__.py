"""Use-cases: one function each, one write transaction with its audit row and its change-log entry."""
