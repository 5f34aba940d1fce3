"""Who asks: the gateway has admitted them and says so in a header that only it can set."""

import base64

import msgspec
from starlette.requests import Request

from steelyard.base.errors import fault
from steelyard.canon.grant import Grant

HEADER = "x-steelyard-principal"


def get_principal(request: Request) -> Grant:
    """The caller's grant.

    Raises:
        Fault: `api_key_missing`; the path was reached without one.
    """
    value = request.headers.get(HEADER)
    if not value:
        raise fault("api_key_missing")
    return msgspec.json.decode(base64.b64decode(value), type=Grant)


def get_admin(request: Request) -> Grant:
    """The caller's grant, which must be an admin's."""
    grant = get_principal(request)
    if grant.kind != "admin":
        raise fault("admin_key_required")
    return grant


def get_scope(request: Request) -> str | None:
    """The one workspace that the caller may look at; None for an admin, who may name one or see all."""
    grant = get_principal(request)
    if grant.kind == "admin":
        return request.query_params.get("workspace")
    return grant.workspace
