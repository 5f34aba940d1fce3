"""Rules: who may call what, which target answers, what it may take and what it costs. Values in, values out."""
