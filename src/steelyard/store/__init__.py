"""Records on SQLAlchemy Core, one text for SQLite and PostgreSQL. Text ids, integer microseconds UTC, integer micro-units."""
