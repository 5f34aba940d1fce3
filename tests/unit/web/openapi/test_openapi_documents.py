"""Documents and collections: nothing that is served is left out, and nothing in them points nowhere."""

import json
import re
from typing import Any

import pytest

from steelyard.dialects.table import DIALECTS, TASK_OPERATIONS
from steelyard.web.openapi.collection import make_collection
from steelyard.web.openapi.document import make_document
from steelyard.web.openapi.sheet import read_sheets
from steelyard.web.openapi.tables import management_sheet

URL = "http://127.0.0.1:8080"
SHEETS = {**read_sheets(), "bailian": management_sheet()}
DOCUMENTS = {name: make_document(sheet, URL) for name, sheet in SHEETS.items()}


def _spellings(path: str) -> set[str]:
    """A path as it is under each of the prefixes that an API has."""
    bare = re.sub(r"^/(compatible-mode/v1|compatible-api/v1|apps/anthropic/v1|api/v1|v1)", "", path)
    return {prefix + bare for prefix in ("/compatible-mode/v1", "/apps/anthropic/v1", "/api/v1")}


@pytest.mark.parametrize("one", [*DIALECTS, *TASK_OPERATIONS], ids=lambda one: f"{one.api}-{one.operation}")
def test_every_operation_is_documented(one: Any) -> None:
    known = {path for document in DOCUMENTS.values() for path in document["paths"]}
    assert not one.paths or any(_spellings(path) & known for path in one.paths), one.paths


@pytest.mark.parametrize("name", SHEETS)
def test_references_lead_somewhere(name: str) -> None:
    document = DOCUMENTS[name]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named == set(document["components"]["schemas"])


@pytest.mark.parametrize("name", SHEETS)
def test_operations_have_names_of_their_own(name: str) -> None:
    ids = [one["operationId"] for methods in DOCUMENTS[name]["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)


def test_a_collection_can_be_sent_as_it_is() -> None:
    made = make_collection(DOCUMENTS["openai"])
    chat = made["item"][0]["request"]
    assert chat["method"] == "POST"
    assert chat["url"]["raw"] == "{{base_url}}/compatible-mode/v1/chat/completions"
    assert json.loads(chat["body"]["raw"])["messages"][0]["role"] == "user"
    assert {one["key"]: one["value"] for one in made["variable"]}["base_url"] == URL
    one_file = next(item["request"] for item in made["item"] if item["name"] == "A file's bytes")
    assert one_file["url"]["path"][-2:] == [":file_id", "content"]


def test_a_collection_shows_what_must_be_there() -> None:
    made = make_collection(DOCUMENTS["prometheus"])
    asked, form = (item["request"] for item in made["item"] if item["name"] == "A query over a time")
    by_name = {one["key"]: one for one in asked["url"]["query"]}
    assert by_name["query"]["value"]
    assert not by_name["query"]["disabled"]
    assert by_name["timeout"]["disabled"]
    assert {one["key"] for one in form["body"]["urlencoded"]} == {"query", "start", "end", "step"}
