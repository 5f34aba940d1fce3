"""The thirteen statuses of the public table, each reached on the running server, and what explains them."""

import json
import re
import uuid

import httpx
import pytest

from installation import Served
from steelyard.base.errors import PUBLIC_STATUSES

HI = [{"role": "user", "content": "hi"}]


def chat(
    served: Served, key: str | None = None, headers: dict[str, str] | None = None, **fields: object
) -> httpx.Response:
    body = {"model": "fake", "messages": HI, **fields}
    return httpx.post(
        served.origin + "/v1/chat/completions",
        json=body,
        headers={**served.headers(key), **(headers or {})},
        timeout=30,
    )


def reach(served: Served, status: int) -> httpx.Response:
    """A call that ends in the status."""
    script = {
        429: {"status": 429},
        500: {"status": 500},
        502: {"broken_json": True},
        503: {"status": 503, "headers": {"retry-after": "3"}},
        504: {"delay_s": 5},
    }
    if status in script:
        return chat(served, script=script[status])
    if status == 200:
        return chat(served)
    if status == 400:
        return chat(served, temperature=9)
    if status == 401:
        return chat(served, key="sk-none")
    if status == 403:
        return chat(served, key=served.installation.create_key("--models", "priced", name=f"s{uuid.uuid4()}")["key"])
    if status == 404:
        return chat(served, model="none")
    if status == 409:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        chat(served, headers=key)
        return chat(served, headers=key, seed=1)
    if status == 413:
        url = served.origin + "/v1/chat/completions"
        return httpx.post(
            url, content=b"x" * 17_000_000, headers={**served.headers(), "content-type": "application/json"}
        )
    if status == 415:
        return httpx.post(
            served.origin + "/v1/chat/completions",
            content=b"a",
            headers={**served.headers(), "content-type": "text/plain"},
        )
    raise AssertionError(status)


@pytest.mark.parametrize("status", [status for status, _ in PUBLIC_STATUSES])
def test_status_is_reachable(served: Served, status: int) -> None:
    """Each answers in the envelope with the header's id; non-retryable ones tell SDKs so."""
    answer = reach(served, status)
    assert answer.status_code == status
    if status == 200:
        return
    body = answer.json()
    assert body["request_id"] == answer.headers["x-request-id"]
    assert isinstance(body["error"]["message"], str)
    if status == 503:
        assert answer.headers["retry-after"] == "3"
    if status == 413:
        assert re.search(r"16777216 bytes, this body has 17000000", body["error"]["message"])


def test_errors_pages(served: Served) -> None:
    """Public without a key: the table, one code, a query; JSON and HTML, both languages."""
    table = httpx.get(served.origin + "/errors").json()["data"]
    assert [row["status"] for row in table] == [status for status, _ in PUBLIC_STATUSES]
    one = httpx.get(served.origin + "/errors/model_not_found").json()["data"][0]
    assert one["status"] == 404
    assert one["cure"]["zh"]
    by_text = httpx.get(served.origin + "/errors", params={"q": "Range of max_tokens should be [1, 8192]"}).json()[
        "data"
    ]
    assert by_text[0]["slug"] == "max_tokens_range"
    page = httpx.get(served.origin + "/errors", headers={"accept": "text/html"})
    assert "Too Many Requests" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    hostile = httpx.get(served.origin + "/errors", params={"q": "<script>1</script>"}, headers={"accept": "text/html"})
    assert "<script>" not in hostile.text
    assert httpx.get(served.origin + "/errors/zzzzzz").status_code == 404


def test_explain_command(served: Served) -> None:
    """Statuses, codes, texts and bodies of any dialect, offline, in both languages."""
    cli = served.installation.cli
    assert "limit_requests" in cli("explain", "429").stdout
    assert "重试" in cli("explain", "429", "--lang", "zh").stdout
    body = json.dumps({"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "x"})
    assert json.loads(cli("explain", body, "--json").stdout)[0]["slug"] == "api_key_invalid"
    assert "input_download_failed" in cli("explain", "-", input_text="BadRequest.InputDownloadFailed").stdout
    assert cli("explain", "qqqq", check=False).returncode == 1


def test_vendor_key_refused_is_the_operators_matter(served: Served) -> None:
    """A vendor's 401 is our 502: the caller's own key is fine. The vendor's text stays here."""
    answer = chat(served, script={"status": 401, "error": {"error": {"message": "bad vendor-secret"}}})
    assert answer.status_code == 502
    assert "vendor-secret" not in answer.text
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "script",
    [{"broken_json": True}, {"error": "<html>oops</html>"}, {"cut_at": 40}, {"error": {"error": {"message": "m"}}}],
)
def test_unusable_answers_become_502(served: Served, script: dict) -> None:
    """Broken JSON, HTML, a cut body and an error inside a 200 are never passed on as an answer."""
    answer = chat(served, script=script)
    assert answer.status_code == 502
    assert answer.json()["error"]["type"]


def test_vendor_refusal_keeps_its_words(served: Served) -> None:
    """The caller's own mistake comes back in the vendor's words, flat native bodies too."""
    error = {"code": "InvalidParameter", "message": "Unsupported parameter."}
    answer = chat(served, script={"status": 400, "error": error})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Unsupported parameter."
    assert answer.json()["error"]["code"] == "InvalidParameter"


def test_slow_drip_arrives_whole(served: Served) -> None:
    """A stream that comes one byte at a time is relayed in whole events."""
    answer = chat(served, stream=True, script={"drip_s": 0.0, "chunks": 5})
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "piece4" in answer.text


def test_metrics(served: Served) -> None:
    """One exposition over all processes for admins; closed label sets; no key in it."""
    chat(served)
    assert httpx.get(served.origin + "/metrics").status_code == 401
    assert httpx.get(served.origin + "/metrics", headers=served.headers()).status_code == 403
    text = httpx.get(served.origin + "/metrics", headers=served.headers(served.admin_key)).text
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"]*",?)*\})? [0-9.e+-]+', line) for line in samples)
    assert re.search(
        r'llm_requests_total\{workspace_id="default",model="fake",operation="chat",protocol="HTTP",status_code="200",error_code=""\} [1-9]',
        text,
    )
    assert 'llm_requests_in_flight{workspace_id="default",model="fake"} 0' in text
    assert 'llm_held_tokens{workspace_id="default"} 0' in text
    labels = set(re.findall(r'([a-z_]+)="', text))
    assert labels <= {
        "workspace_id",
        "model",
        "operation",
        "protocol",
        "status_code",
        "error_code",
        "le",
        "limit",
        "usage_type",
        "backend",
        "kind",
        "lane",
        "state",
        "status",
        "currency",
        "apikey_id",
        "unit",
        "per",
        "result",
        "receiver",
    }
    assert "sk-" not in text
