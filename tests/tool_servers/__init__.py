"""Servers whose tools are called: a real MCP server, and a real HTTP API with an OpenAPI description."""
