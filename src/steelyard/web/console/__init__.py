"""The console: server-rendered pages for people, in two languages. One room a file; templates and texts beside them."""
