"""The judges run in a venv of their own, with the vendors' unmodified SDKs; servers are started by the main suite."""

import json
import os
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

TARGETS: dict[str, dict[str, str]] = json.loads(os.environ["STEELYARD_JUDGED"])


def client_for(name: str, prefix: str = "/compatible-mode/v1", **options: Any) -> OpenAI:
    target = TARGETS[name]
    return OpenAI(base_url=target["origin"] + prefix, api_key=target["key"], **options)


@pytest.fixture(scope="session")
def fake() -> OpenAI:
    return client_for("served")


@pytest.fixture(scope="session")
def real() -> OpenAI:
    return client_for("embedded")


@pytest.fixture
def fake_async() -> AsyncOpenAI:
    target = TARGETS["served"]
    return AsyncOpenAI(base_url=target["origin"] + "/v1", api_key=target["key"])
