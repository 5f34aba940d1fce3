"""Calls that a workspace keeps whole, where its operator says so, to ask them again of another model."""

import logging

from steelyard.base.errors import Fault
from steelyard.base.jsondoor import encode
from steelyard.canon.grant import Grant
from steelyard.canon.kept import KeptCall
from steelyard.dialects.dialect import Operation
from steelyard.gateway.call import Call
from steelyard.gateway.ports import KeptCalls

log = logging.getLogger("steelyard.gateway")

#: A longer call is not kept.
MAX_BODY_BYTES = 262_144


def is_kept(grant: Grant, dialect: Operation) -> bool:
    """Whether a call is one that is kept: chat by the compatible API, made by people's programs and not by tasks."""
    return dialect.operation == "chat" and dialect.api == "openai" and not grant.is_task


async def keep_call(kept_calls: KeptCalls, call: Call, grant: Grant, answer: bytes) -> None:
    """Keeps a call as it went to the model, masked where inspection masks."""
    body = encode(call.request.body)
    if len(body) > MAX_BODY_BYTES:
        return
    kept = KeptCall(
        request_id=call.request_id,
        workspace=grant.workspace,
        key_id=grant.key_id,
        model=call.request.model,
        started_us=call.started_us,
        body=body,
        answer=answer,
    )
    try:
        await kept_calls.keep_call(kept)
    except Fault as failure:
        log.warning("a call was not kept: %s", failure, extra={"request_id": call.request_id})
