"""A fake of the native API's asynchronous tasks: submitted, asked about, listed, cancelled, with uploads and results of its own.

It runs in a thread of the test, so that its state can be looked at. It never fetches a link: what it is sent must be reachable for it.
"""

import base64
import io
import threading
import time
import uuid
import wave
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Self

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from installation import NO_ENGINES, free_port

BEIJING = timezone(timedelta(hours=8))


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def sound(seconds: float = 1.0) -> bytes:
    """A second of near silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(b"\x01\x00" * int(16_000 * seconds))
    return file.getvalue()


@dataclass
class TaskVendor:
    """The vendor."""

    #: Seconds that a task takes.
    run_s: float = 0.5
    #: Submits are taken on, and the connection is cut before the answer.
    cuts_submits: bool = False
    #: Submits are not even taken on, and cut.
    drops_submits: bool = False
    fails: str = ""
    submitted: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    #: when each task was last asked about
    asked_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base_url = self.origin + "/api/v1"
        self.picture = picture()
        self.sound = sound()
        routes = [
            Route("/api/v1/services/{rest:path}", self.submit, methods=["POST"]),
            Route("/api/v1/tasks", self.list),
            Route("/api/v1/tasks/{task_id}", self.ask),
            Route("/api/v1/tasks/{task_id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/v1/uploads", self.policy),
            Route("/upload", self.upload, methods=["POST"]),
            Route("/results/{name}", self.result),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=self.port, log_level="critical", timeout_keep_alive=75)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)

    async def submit(self, request: Request) -> Response:
        if self.drops_submits:
            return Cut()
        body = await request.json()
        task_id = str(uuid.uuid4())
        self.bodies[task_id] = body
        self.submitted[task_id] = {"at": time.time(), "model": body["model"]}
        if request.headers.get("x-dashscope-async") != "enable":
            if "tts" in body["model"]:
                audio = {
                    "url": f"{self.origin}/results/{task_id}.wav?Expires=1",
                    "data": "",
                    "id": "audio_1",
                    "expires_at": 1,
                }
                output = {"finish_reason": "stop", "audio": audio}
                return JSONResponse({"output": output, "usage": {"characters": 100}, "request_id": "r"})
            part = {"image": f"{self.origin}/results/{task_id}.png?Expires=1"}
            choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": [part]}}
            return JSONResponse({"output": {"choices": [choice]}, "usage": {"image_count": 1}, "request_id": "r"})
        if self.cuts_submits:
            return Cut()
        return JSONResponse({"output": {"task_id": task_id, "task_status": "PENDING"}, "request_id": "r"})

    async def ask(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        self.asked_at[task_id] = time.time()
        if task_id not in self.submitted:
            return JSONResponse({"output": {"task_id": task_id, "task_status": "UNKNOWN"}, "request_id": "r"})
        output: dict[str, Any] = {"task_id": task_id, "task_status": "RUNNING"}
        if task_id in self.canceled:
            output["task_status"] = "CANCELED"
        elif time.time() - self.submitted[task_id]["at"] > self.run_s:
            if self.fails:
                output |= {"task_status": "FAILED", "code": self.fails, "message": "The vendor failed it."}
                return JSONResponse({"output": output, "request_id": "r"})
            output["task_status"] = "SUCCEEDED"
            prompt = self.bodies[task_id]["input"].get("prompt")
            link = f"{self.origin}/results/{task_id}.png?Expires=1&OSSAccessKeyId=x&Signature=y"
            if "asr" in self.submitted[task_id]["model"]:
                output["results"] = [self._heard(link, number) for number, link in enumerate(self._files(task_id))]
                usage: dict[str, Any] = {"duration": 61}
            elif "video" in self.submitted[task_id]["model"]:
                output |= {"video_url": link, "orig_prompt": prompt}
                usage = {"duration": 5, "video_count": 1, "SR": 720}
            else:
                output["results"] = [{"url": link, "orig_prompt": prompt}]
                usage = {"image_count": 1}
            return JSONResponse({"output": output, "usage": usage, "request_id": "r"})
        return JSONResponse({"output": output, "request_id": "r"})

    def _files(self, task_id: str) -> Any:
        return self.bodies[task_id]["input"]["file_urls"]

    def _heard(self, link: str, number: int) -> dict[str, Any]:
        if "deaf" in link:
            return {
                "file_url": link,
                "subtask_status": "FAILED",
                "code": "InvalidFile.DecodeFailed",
                "message": "no sound",
            }
        told = f"{self.origin}/results/{number}.json?Expires=1"
        return {"file_url": link, "transcription_url": told, "subtask_status": "SUCCEEDED"}

    async def list(self, request: Request) -> Response:
        query = request.query_params
        since, until = (
            datetime.strptime(query[name], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING).timestamp()
            for name in ("start_time", "end_time")
        )
        data = [
            {"task_id": task_id, "model_name": one["model"], "status": "RUNNING"}
            for task_id, one in self.submitted.items()
            if one["model"] == query["model_name"] and since <= one["at"] <= until + 1
        ]
        return JSONResponse({"request_id": "r", "total": len(data), "data": data})

    async def cancel(self, request: Request) -> Response:
        self.canceled.add(request.path_params["task_id"])
        return JSONResponse({"request_id": "r"})

    async def policy(self, _request: Request) -> Response:
        data = {
            "policy": base64.b64encode(b"{}").decode(),
            "signature": "s",
            "upload_dir": f"dashscope-instant/{uuid.uuid4()}",
            "upload_host": f"{self.origin}/upload",
            "oss_access_key_id": "AK",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        return JSONResponse({"request_id": "r", "data": data})

    async def upload(self, request: Request) -> Response:
        async with request.form() as form:
            file: Any = form["file"]
            self.uploads[str(form["key"])] = await file.read()
        return Response(status_code=200)

    async def result(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name.endswith(".wav"):
            return Response(self.sound, media_type="audio/wav")
        if name.endswith(".json"):
            transcript = {"channel_id": 0, "text": "hello from the vendor", "sentences": []}
            return JSONResponse({"file_url": f"{self.origin}/secret.wav?Signature=y", "transcripts": [transcript]})
        return Response(self.picture, media_type="image/png")


class Cut(Response):
    """An answer that breaks off in its middle: the connection closes."""

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionResetError


def task_vendor_config(vendor: TaskVendor, extra: str = "") -> str:
    """A configuration whose models `there-image` and `there-video` are the vendor's."""
    return f"""
[providers.there]
kind = "dashscope"
base_url = "{vendor.base_url}"
api_key = "vendor-secret"
models = []

[models."there-image"]
modality = "image"
targets = [{{provider = "there", model = "wan-image"}}]
price = {{image = "0.20", currency = "CNY"}}

[models."there-video"]
modality = "video"
targets = [{{provider = "there", model = "wan-video"}}]
price = {{second = {{"720P" = "0.60", "" = "0.60"}}, currency = "CNY"}}

[models."there-asr"]
modality = "transcription"
targets = [{{provider = "there", model = "asr-model"}}]
price = {{second = "0.01", currency = "CNY"}}

[models."there-tts"]
modality = "speech"
targets = [{{provider = "there", model = "tts-model"}}]
price = {{input = "100.00", currency = "CNY"}}

[tasks]
poll_s = 1.0
{NO_ENGINES}
{extra}
"""
