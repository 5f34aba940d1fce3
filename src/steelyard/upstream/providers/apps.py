"""The app host: a process of this server, whose answers are made of other calls."""

from steelyard.upstream.providers.kind import Kind

PROVIDER = Kind(api="apps", operations=("chat", "apps"), models_path=None)
