"""Mixed calls with the unmodified openai SDK, its own retries off: `python storm.py CALLS MODEL…` prints [[request id, status], …]."""

import asyncio
import json
import sys

import openai
from openai import AsyncOpenAI

from conftest import TARGETS

HI = [{"role": "user", "content": "hi"}]
CLIENTS = 24


async def one(client: AsyncOpenAI, model: str, *, stream: bool) -> tuple[str, int]:
    """A call to its end: 0 in place of a status where the answer was not whole."""
    try:
        raw = await client.chat.completions.with_raw_response.create(model=model, messages=HI, stream=stream)
        answer = raw.parse()
        if not stream:
            return raw.headers["x-request-id"], 200 if answer.choices[0].message.content else 0
        reasons = [choice.finish_reason async for chunk in answer for choice in chunk.choices]
        return raw.headers["x-request-id"], 200 if reasons[-1] == "stop" else 0
    except openai.APIStatusError as exc:
        return exc.request_id or "", exc.status_code
    except openai.APIError:
        return "", 0


async def main(calls: int, models: list[str]) -> None:
    results = []
    numbers = iter(range(calls))
    target = TARGETS["served"]

    async def caller() -> None:
        async with AsyncOpenAI(base_url=target["origin"] + "/v1", api_key=target["key"], max_retries=0) as client:
            results.extend(
                [await one(client, models[number % len(models)], stream=number % 3 == 0) for number in numbers]
            )

    await asyncio.gather(*(caller() for _ in range(CLIENTS)))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
