"""Ground: what every layer may import. Knows no storage, no HTTP server and no model."""
