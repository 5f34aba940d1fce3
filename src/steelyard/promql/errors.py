"""How a query fails, in the kinds of Prometheus' HTTP API."""

BAD_DATA, EXECUTION, TIMEOUT, CANCELED, INTERNAL = "bad_data", "execution", "timeout", "canceled", "internal"


class QueryError(Exception):
    """A query that is not answered.

    Args:
        kind: one of the kinds above.
    """

    def __init__(self, text: str, kind: str = EXECUTION) -> None:
        super().__init__(text)
        self.kind = kind
