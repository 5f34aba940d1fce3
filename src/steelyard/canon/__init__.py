"""Dialect-neutral values: what a call is, who makes it, what answers it. Frozen; no I/O, no clock."""
