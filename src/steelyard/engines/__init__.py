"""Local models in child processes. A host speaks the OpenAI wire over a unix socket, so it is an ordinary target."""
