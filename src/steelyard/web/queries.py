"""Query parameters, checked."""

from starlette.datastructures import QueryParams

from steelyard.base.errors import fault


def read_integer(query: QueryParams, name: str, default: int, low: int, high: int) -> int:
    """A whole number within bounds.

    Raises:
        Fault: it is none, or outside of them.
    """
    text = query.get(name)
    if text is None or text == "":
        return default
    if not text.isdecimal() or len(text) > 12:
        raise fault("parameter_type", field=name, type="Integer", param=name)
    if not low <= int(text) <= high:
        raise fault("parameter_invalid", detail=f"Range of {name} should be [{low}, {high}].", param=name)
    return int(text)
