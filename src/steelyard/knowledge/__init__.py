"""Documents: read into blocks, for calls that name them and for knowledge bases."""
