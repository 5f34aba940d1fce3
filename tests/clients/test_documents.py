"""Published OpenAPI documents: schemathesis asks whatever they allow and whatever they do not; every answer is as documented."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from installation import ROOT, Installation, Served, Vendor, vendor_config

CLIENTS = ROOT / ".clients"
NAMES = ("openai", "dashscope", "anthropic", "prometheus", "bailian", "control")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
#: Names that mean something at this installation, so that calls get beyond their first line.
MODELS = ("fake", "fake-native", "fake-messages", "priced", "no-such-model")
#: The fake vendor draws nothing, and a vendor that breaks its word is told of by a 5xx.
OF_TASKS = ("ImageCall", "PicturesCall", "VideoCall", "TranscriptionCall", "SpeechCall")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Served]:
    """A server of its own: whoever may do everything is asked to do anything."""
    with Installation(tmp_path_factory.mktemp("documents"), vendor_config(vendor)) as installation:
        yield Served(installation)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_as_documented(name: str, asked: Served, tmp_path: Path) -> None:
    judge(name, asked, tmp_path, examples=5, phases="examples,fuzzing")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_as_documented_at_length(name: str, asked: Served, tmp_path: Path) -> None:
    judge(name, asked, tmp_path, examples=150, phases="examples,coverage,fuzzing,stateful")


def judge(name: str, asked: Served, directory: Path, *, examples: int, phases: str) -> None:
    """Runs schemathesis over one document; the key that it has is an admin's where only admins may ask."""
    document = httpx.get(f"{asked.origin}/openapi/{name}.json").json()
    name_models(document)
    path = directory / f"{name}.json"
    path.write_text(json.dumps(document))
    key = asked.admin_key if name in ("control", "prometheus") else asked.key
    done = subprocess.run(
        [
            str(CLIENTS / "bin" / "schemathesis"), "run", str(path), "--url", asked.origin,
            "--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples),
            "--header", f"Authorization: Bearer {key}", "--continue-on-failure", "--no-color", "--seed", "20261126",
            "--request-timeout", "30", "--suppress-health-check", "all", "--no-shrink", "--warnings", "off",
        ],
        cwd=directory, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def name_models(document: dict[str, Any]) -> None:
    """Of all names that a model may have, those that are here are tried."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Call") and "model" in schema.get("properties", {}):
            schema["properties"]["model"]["enum"] = ["no-such-model"] if name in OF_TASKS else list(MODELS)
