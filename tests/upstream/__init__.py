"""A fake vendor for tests: an OpenAI-compatible server whose behaviour each request scripts for itself."""
