"""An installation whose operator lets plugins ask servers of this machine, and helpers to make apps in it."""

import time
from typing import Any

import httpx

from installation import ROOT, VECTORS_ALONE, Installation, Served, Vendor, vendor_config

TIME_SERVER = ROOT / ".clients/bin/mcp-server-time"


def house_config(vendor: Vendor, extra: str = "") -> str:
    return vendor_config(
        vendor,
        f"""
[outbound]
private_hosts = ["127.0.0.1"]

[plugins.times]
kind = "stdio"
command = "{TIME_SERVER}"
{extra}
""",
        engines=VECTORS_ALONE,
    )


class House(Served):
    """A running installation, asked as its admin and as its callers do."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(installation)
        self.admin = {"Authorization": f"Bearer {self.admin_key}"}

    def control(self, method: str, path: str, body: dict[str, Any] | None = None, status: int | None = None) -> Any:
        answer = httpx.request(method, f"{self.origin}/control/v1{path}", headers=self.admin, json=body, timeout=60)
        if status is None:
            assert answer.status_code < 300, answer.text
        else:
            assert answer.status_code == status, answer.text
        return answer.json()

    def make_app(self, *, name: str = "app", **spec: Any) -> str:
        spec.setdefault("model", "fake")
        app_id = self.control("POST", "/apps", {"name": name, "spec": spec, "publish": True})["id"]
        self.wait_for(app_id)
        return app_id

    def wait_for(self, app_id: str) -> None:
        """Every gateway knows of a published app within two seconds."""
        # an app gives one answer: asking for two tells whether it is known, and asks no model
        body = {"model": f"app/{app_id}", "messages": [{"role": "user", "content": "?"}], "n": 2}
        for _ in range(100):
            answer = httpx.post(f"{self.origin}/v1/chat/completions", headers=self.headers(), json=body)
            if answer.json()["error"]["code"] != "model_not_found":
                return
            time.sleep(0.03)
        raise AssertionError("the app is not known")

    def wait_for_tools(self, name: str, *, is_there: bool = True) -> None:
        for _ in range(100):
            answer = self.mcp(name, "ping")
            if (answer.status_code == 200) == is_there:
                return
            time.sleep(0.03)
        raise AssertionError(answer.text)

    def add_plugin(self, name: str, **wish: Any) -> dict[str, Any]:
        made = self.control("POST", "/plugins", {"name": name, **wish})
        self.wait_for_tools(name)
        return made

    def ask(
        self, app_id: str, prompt: str, *, key: str | None = None, sse: bool = False, **more: Any
    ) -> httpx.Response:
        headers = self.headers(key) | ({"X-DashScope-SSE": "enable"} if sse else {})
        parameters = more.pop("parameters", {})
        body = {"input": {"prompt": prompt, **more}, "parameters": parameters}
        return httpx.post(f"{self.origin}/api/v1/apps/{app_id}/completion", headers=headers, json=body, timeout=90)

    def chat(self, model: str, prompt: str, *, key: str | None = None, plugin: str = "", **more: Any) -> httpx.Response:
        headers = self.headers(key) | ({"X-DashScope-Plugin": plugin} if plugin else {})
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        return httpx.post(f"{self.origin}/v1/chat/completions", headers=headers, json=body, timeout=90)

    def mcp(
        self, name: str, method: str, params: dict[str, Any] | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = self.headers(key) | {
            "Accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2025-06-18",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        return httpx.post(f"{self.origin}/mcp/{name}", headers=headers, json=body, timeout=60)

    def make_base(self, name: str, text: str) -> str:
        """A knowledge base with one document."""
        files = {"file": (name, text.encode())}
        file = httpx.post(
            f"{self.origin}/v1/files", headers=self.headers(), data={"purpose": "assistants"}, files=files
        ).json()["id"]
        store = httpx.post(f"{self.origin}/v1/vector_stores", headers=self.headers(), json={"file_ids": [file]}).json()[
            "id"
        ]
        for _ in range(300):
            told = httpx.get(f"{self.origin}/v1/vector_stores/{store}", headers=self.headers()).json()
            if told["status"] == "completed":
                return str(store)
            time.sleep(0.1)
        raise AssertionError(told)

    def receipt(self, request_id: str, *, steps: int = 0) -> dict[str, Any]:
        """Once it is there, with so many steps: these are carried from other processes' journals, in no order."""
        for _ in range(100):
            path = f"{self.origin}/control/v1/requests/{request_id}/receipt"
            answer = httpx.get(path, headers=self.admin)
            if answer.status_code == 200 and len(answer.json()["steps"]) >= steps:
                return dict(answer.json())
            time.sleep(0.05)
        raise AssertionError(answer.text)


def calls(*rounds: list[tuple[str, str]], text: str) -> dict[str, Any]:
    """A script of the fake vendor: rounds of tool calls, then a text (`{tool}` stands for what tools said)."""
    first, *rest = [*({"calls": one} for one in rounds), {"text": text}]
    return {**first, "then": rest}
