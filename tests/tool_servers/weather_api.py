"""A real HTTP API (FastAPI) with its own OpenAPI description, kind and hostile by turns. Runs in the clients' environment."""

import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel

PORT = int(sys.argv[1])
app = FastAPI(title="Weather", version="1", servers=[{"url": f"http://127.0.0.1:{PORT}"}])
WEATHER = {"杭州": "晴, 23 °C", "Hangzhou": "sunny, 23 °C", "Shanghai": "rain, 18 °C", "Beijing": "wind, 9 °C"}
SEEN: list[dict[str, str]] = []


class Order(BaseModel):
    item: str
    count: int = 1


@app.get("/forecast/{city}", operation_id="get_forecast", summary="The weather forecast of a city.")
async def forecast(city: str, days: int = 1) -> dict[str, object]:
    if city not in WEATHER:
        raise HTTPException(404, f"no weather for {city}")
    return {"city": city, "forecast": WEATHER[city], "days": days}


@app.post("/orders", operation_id="order", summary="Orders something.")
async def order(body: Order) -> dict[str, object]:
    return {"ordered": body.item, "count": body.count, "number": "A-17"}


@app.get("/whoami", operation_id="whoami", summary="Who is calling.")
async def whoami(authorization: str = Header(""), x_key: str = Header(""), key: str = "") -> dict[str, str]:
    return {"authorization": authorization, "x_key": x_key, "key": key}


@app.post("/token", include_in_schema=False)
async def token(grant_type: str = Form(), scope: str = Form(""), authorization: str = Header("")) -> dict[str, object]:
    SEEN.append({"grant_type": grant_type, "scope": scope, "authorization": authorization})
    return {"access_token": f"oauth-{len(SEEN)}", "token_type": "bearer", "expires_in": 3600}


@app.get("/huge", operation_id="huge", summary="Says a gigabyte.")
async def huge() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1024):
            yield b"x" * 1_048_576

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/endless", operation_id="endless", summary="Never stops.")
async def endless() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.05)

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/hang", operation_id="hang", summary="Never answers.")
async def hang() -> str:
    await asyncio.sleep(600)
    return "late"


@app.get("/redirect", operation_id="redirect", summary="Sends elsewhere.")
async def redirect(to: str) -> RedirectResponse:
    return RedirectResponse(to)


if __name__ == "__main__":
    print(PORT, flush=True)
    uvicorn.run(app, port=PORT, log_level="error")
