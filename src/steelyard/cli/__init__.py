"""The command line: one file per noun, over use-cases and the client package."""
