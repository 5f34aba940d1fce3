"""Documents and media that calls refer to: put in here, so that no model's host ever follows a link into this server."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from installation import Installation, Served, Vendor, vendor_config
from knowledge_papers import EN, ZH, write

CHAT, NATIVE, MESSAGES, RESPONSES = (
    "/v1/chat/completions", "/api/v1/services/aigc/multimodal-generation/generation", "/v1/messages", "/v1/responses",
)  # fmt: skip


@pytest.fixture(scope="module")
def supplied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Vendor]]:
    vendor = Vendor()
    with Installation(tmp_path_factory.mktemp("supplied"), vendor_config(vendor)) as installation:
        yield Served(installation), vendor
    vendor.stop()


def upload(served: Served, name: str, data: bytes, key: str | None = None) -> str:
    files = {"purpose": (None, "file-extract"), "file": (name, data)}
    answer = httpx.post(served.origin + "/v1/files", headers=served.headers(key), files=files, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def upload_paper(served: Served, directory: Path, name: str) -> str:
    return upload(served, name, write(directory, name).read_bytes())


def publish(served: Served, file_id: str) -> str:
    answer = httpx.post(f"{served.origin}/api/v1/files/{file_id}/publish", headers=served.headers(), json={"ttl": "1h"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["url"])


def picture(side: int = 40, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(file, kind)
    return file.getvalue()


def ask(served: Served, path: str, body: dict[str, Any], key: str | None = None, **headers: str) -> httpx.Response:
    return httpx.post(served.origin + path, headers={**served.headers(key), **headers}, json=body, timeout=60)


def chat(served: Served, *messages: dict[str, Any], key: str | None = None, **headers: str) -> httpx.Response:
    return ask(served, CHAT, {"model": "fake", "messages": list(messages)}, key, **headers)


def told(vendor: Vendor) -> dict[str, Any]:
    """The body that the vendor saw last."""
    body = vendor.seen()["calls"][-1]["body"]
    return json.loads(body) if isinstance(body, str) else body


USER = {"role": "user", "content": "这篇文章讲了什么?"}


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.csv", "a.html", "a.epub", "a.json"])  # fmt: skip
def test_a_document_in_a_system_message(supplied: tuple[Served, Vendor], tmp_path: Path, name: str) -> None:
    """As Qwen-Long is called; any model reads it."""
    served, vendor = supplied
    file_id = upload_paper(served, tmp_path, name)
    answer = chat(served, {"role": "system", "content": f"fileid://{file_id}"}, USER)
    assert answer.status_code == 200, answer.text
    assert EN in told(vendor)["messages"][0]["content"]
    assert told(vendor)["messages"][1] == USER


def test_several_documents(supplied: tuple[Served, Vendor], tmp_path: Path) -> None:
    """In their order, whatever their encoding; and a text that only mentions one is left alone."""
    served, vendor = supplied
    one, two = upload_paper(served, tmp_path, "a.pdf"), upload(served, "国标.txt", ZH.encode("gb18030"))
    mention = {"role": "system", "content": f"do not read fileid://{one} now"}
    answer = chat(served, {"role": "system", "content": f"fileid://{one}, fileid://{two}"}, mention, USER)
    assert answer.status_code == 200, answer.text
    text = told(vendor)["messages"][0]["content"]
    assert text.index(EN) < text.index(ZH)
    assert told(vendor)["messages"][1] == mention


def test_documents_in_every_dialect(supplied: tuple[Served, Vendor], tmp_path: Path) -> None:
    """Each in the form that its API has for it, at targets of all kinds."""
    served, vendor = supplied
    file_id = upload_paper(served, tmp_path, "a.docx")
    part = {"role": "user", "content": [{"type": "file", "file": {"file_id": file_id}}, {"type": "text", "text": "?"}]}
    assert chat(served, part).status_code == 200
    assert ZH in told(vendor)["messages"][0]["content"][0]["text"]
    for model in ("fake", "fake-native", "fake-messages"):
        native = {"model": model, "input": {"messages": [{"role": "system", "content": f"fileid://{file_id}"}, USER]}}
        path = NATIVE if model == "fake-native" else NATIVE.replace("multimodal", "text")
        assert ask(served, path, native).status_code == 200
        assert ZH in json.dumps(told(vendor), ensure_ascii=False)
        block = {
            "type": "document",
            "source": {"type": "file", "file_id": file_id},
            "cache_control": {"type": "ephemeral"},
        }
        body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": [block]}]}
        assert ask(served, MESSAGES, body).status_code == 200
        assert ZH in json.dumps(told(vendor), ensure_ascii=False)


def test_responses_go_on_from_a_document(supplied: tuple[Served, Vendor], tmp_path: Path) -> None:
    """What was put in is part of the conversation."""
    served, vendor = supplied
    file_id = upload_paper(served, tmp_path, "a.html")
    content = [{"type": "input_file", "file_id": file_id}, {"type": "input_text", "text": "?"}]
    first = ask(served, RESPONSES, {"model": "fake", "input": [{"role": "user", "content": content}]})
    assert first.status_code == 200, first.text
    assert ZH in json.dumps(told(vendor), ensure_ascii=False)
    again = ask(served, RESPONSES, {"model": "fake", "input": "and?", "previous_response_id": first.json()["id"]})
    assert again.status_code == 200, again.text
    assert ZH in json.dumps(told(vendor), ensure_ascii=False)


def test_pictures_are_carried(supplied: tuple[Served, Vendor]) -> None:
    """Own links, file ids and uploads go to the model's host by value."""
    served, vendor = supplied
    data = picture()
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    file_id = upload(served, "雪 1.png", data)
    link = publish(served, file_id)
    for place in (link, link.replace("/", "\\/"), f"fileid://{file_id}"):
        part = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "PLACE", "detail": "low"}}]}
        text = json.dumps({"model": "fake", "messages": [part]}).replace("PLACE", place)
        answer = httpx.post(
            served.origin + CHAT, headers=served.headers() | {"Content-Type": "application/json"}, content=text
        )
        assert answer.status_code == 200, answer.text
        assert told(vendor)["messages"][0]["content"][0]["image_url"] == {"url": uri, "detail": "low"}
    native = {
        "model": "fake-native",
        "input": {"messages": [{"role": "user", "content": [{"image": link}, {"text": "?"}]}]},
    }
    assert ask(served, NATIVE, native).status_code == 200
    assert told(vendor)["input"]["messages"][0]["content"][0] == {"image": uri}
    block = {"type": "image", "source": {"type": "url", "url": link}}
    body = {"model": "fake-messages", "max_tokens": 50, "messages": [{"role": "user", "content": [block]}]}
    assert ask(served, MESSAGES, body).status_code == 200
    source = {"type": "base64", "media_type": "image/png", "data": uri.partition(",")[2]}
    assert told(vendor)["messages"][0]["content"][0]["source"] == source
    seen = {"type": "input_image", "file_id": file_id, "detail": "auto"}
    assert ask(served, RESPONSES, {"model": "fake", "input": [{"role": "user", "content": [seen]}]}).status_code == 200
    assert uri in json.dumps(told(vendor))


def test_uploads_are_resolved_where_the_header_allows(supplied: tuple[Served, Vendor]) -> None:
    """As the SDKs send local files."""
    served, vendor = supplied
    policy = httpx.get(
        f"{served.origin}/api/v1/uploads?action=getPolicy&model=fake-native", headers=served.headers()
    ).json()["data"]
    key = policy["upload_dir"] + "/p.png"
    form = {"OSSAccessKeyId": policy["oss_access_key_id"], "Signature": policy["signature"], "policy": policy["policy"], "key": key, "success_action_status": "200"}  # fmt: skip
    assert httpx.post(policy["upload_host"], data=form, files={"file": ("p.png", picture())}).status_code == 200
    body = {
        "model": "fake-native",
        "input": {"messages": [{"role": "user", "content": [{"image": f"oss://{key}"}, {"text": "?"}]}]},
    }
    refused = ask(served, NATIVE, body)
    assert refused.status_code == 400
    assert "X-DashScope-OssResourceResolve: enable" in refused.json()["message"]
    answer = ask(served, NATIVE, body, **{"X-DashScope-OssResourceResolve": "enable"})
    assert answer.status_code == 200, answer.text
    assert told(vendor)["input"]["messages"][0]["content"][0]["image"].startswith("data:image/png;base64,")


def test_a_public_link_is_passed_on(supplied: tuple[Served, Vendor]) -> None:
    """Whoever can reach it follows it; a tool's words are nobody's links."""
    served, vendor = supplied
    link = publish(served, upload(served, "a.png", picture()))
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    call = {"id": "c1", "type": "function", "function": {"name": "show", "arguments": json.dumps({"url": link})}}
    messages = [{"role": "user", "content": [part]}, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": link}, USER]  # fmt: skip
    answer = chat(served, *messages)
    assert answer.status_code == 200, answer.text
    assert told(vendor)["messages"] == messages


def test_refusals(supplied: tuple[Served, Vendor], tmp_path: Path) -> None:
    """Each says which link, and what to do."""
    served, vendor = supplied
    calls = vendor.totals()["calls"]
    image, damaged = upload(served, "a.png", picture()), upload(served, "b.pdf", b"%PDF-1.4 cut")
    link = publish(served, image)

    def system(content: str) -> dict[str, Any]:
        return chat(served, {"role": "system", "content": content}, USER).json()["error"]

    def image_at(url: str) -> dict[str, Any]:
        return chat(served, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}).json()[
            "error"
        ]

    assert system("fileid://file-fe-none")["message"].startswith("Invalid file [id:file-fe-none].")
    assert system(f"fileid://{image}")["message"].startswith(f"File [id:{image}] format is not supported.")
    assert "damaged" in system(f"fileid://{damaged}")["message"]
    assert system(",".join(f"fileid://file-fe-{n}" for n in range(100)))["message"].startswith(
        "Too many files provided."
    )
    for url in (link[:-2], link.replace("Expires=", "Expires=1"), link.replace("/o/", "/o/x")):
        error = image_at(url)
        assert error["message"].startswith(
            "<400> InternalError.Algo.InvalidParameter: Failed to download multimodal content"
        )
        assert "业务空间" in error["message"]
    large = upload(served, "large.png", picture(2200))
    assert "max bytes per data-uri" in image_at(publish(served, large))["message"]
    book = upload(served, "book.txt", (ZH + "\n").encode() * 300_000)
    answer = chat(served, {"role": "system", "content": f"fileid://{book}"}, USER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    broken = httpx.post(served.origin + CHAT, headers=served.headers(), content=b'{"messages": "fileid://x')
    assert broken.status_code == 400
    assert vendor.totals()["calls"] == calls


def test_another_workspace_has_nothing_of_it(supplied: tuple[Served, Vendor], tmp_path: Path) -> None:
    """Neither by id nor by a link that is good for everybody's browser."""
    served, _ = supplied
    file_id = upload_paper(served, tmp_path, "a.txt")
    link = publish(served, upload(served, "a.png", picture()))
    served.installation.cli("workspaces", "create", "other")
    served.installation.cli("activate", "--workspace", "other")
    key = served.installation.create_key("--workspace", "other", name="other")["key"]
    refused = chat(served, {"role": "system", "content": f"fileid://{file_id}"}, USER, key=key)
    assert (refused.status_code, refused.json()["error"]["message"][:12]) == (400, "Invalid file")
    part = {"type": "image_url", "image_url": {"url": link}}
    assert chat(served, {"role": "user", "content": [part]}, key=key).status_code == 400


def test_what_is_put_in_counts(supplied: tuple[Served, Vendor]) -> None:
    """A document is held like any text; a picture is not held as if it were one."""
    served, _ = supplied
    key = served.installation.create_key("--budget-tokens", "40000", name="narrow")["key"]
    book = upload(served, "book.txt", (EN + "\n\n").encode() * 20_000)
    refused = chat(served, {"role": "system", "content": f"fileid://{book}"}, USER, key=key)
    assert refused.status_code == 429, refused.text
    uri = f"data:image/png;base64,{base64.b64encode(picture(1000)).decode()}"
    assert len(uri) > 1_000_000
    answer = chat(served, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}]}, key=key)
    assert answer.status_code == 200, answer.text


def test_many_at_once_read_a_document_once(supplied: tuple[Served, Vendor]) -> None:
    """And all of them have it."""
    served, _ = supplied
    rows = "".join(f"row {n},{n}\n" for n in range(60_000))
    file_id = upload(served, "rows.csv", rows.encode())
    system = {"role": "system", "content": f"fileid://{file_id}"}
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: chat(served, system, USER), range(40)))
    assert [one.status_code for one in answers] == [200] * 40


def test_relayed_always(tmp_path: Path) -> None:
    """Where the operator wants it so, public links are fetched here too, by the guarded client."""
    vendor = Vendor()
    config = vendor_config(vendor, '\n[outbound]\nrelay = "always"\n')
    with Installation(tmp_path, config) as installation:
        served = Served(installation)
        part = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{vendor.port}/a.png"}}
        refused = chat(served, {"role": "user", "content": [part]})
        assert refused.status_code == 400
        assert "private network" in refused.json()["error"]["message"]
        assert chat(served, USER, {"role": "assistant", "content": "https://example.com"}, USER).status_code == 200
    vendor.stop()
