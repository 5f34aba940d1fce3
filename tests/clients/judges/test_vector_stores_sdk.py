"""Vector stores by the unmodified OpenAI SDK."""

from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI

from conftest import client_for

PAPERS = {
    "owl.md": "# Owls\n\nOwls fly without a sound because their feathers have soft combs.\n",
    "猫.md": "# 猫\n\n猫一天要睡十四个小时。\n",
}


@pytest.fixture(scope="module")
def client() -> OpenAI:
    return client_for("embedded", "/v1")


def test_whole_life(client: OpenAI, tmp_path: Path) -> None:
    """Made, filled by the SDK's own helpers that wait, searched, emptied, deleted."""
    store = client.vector_stores.create(name="animals", metadata={"of": "judge"})
    assert (store.object, store.status, store.file_counts.total) == ("vector_store", "completed", 0)
    ids = {}
    for name, text in PAPERS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        with (tmp_path / name).open("rb") as opened:
            file = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=opened)
        assert (file.status, file.last_error) == ("completed", None)
        ids[name] = file.id
    assert client.vector_stores.retrieve(store.id).file_counts.completed == 2
    found = client.vector_stores.search(store.id, query="why are owls silent", max_num_results=3)
    assert found.data[0].file_id == ids["owl.md"]
    assert "soft combs" in found.data[0].content[0].text
    assert 0 <= found.data[0].score <= 1
    assert client.vector_stores.search(store.id, query="how long does a cat sleep").data[0].file_id == ids["猫.md"]
    client.vector_stores.files.update(ids["owl.md"], vector_store_id=store.id, attributes={"wild": True})
    wild = client.vector_stores.search(store.id, query="sleep", filters={"type": "eq", "key": "wild", "value": True})
    assert {one.file_id for one in wild.data} <= {ids["owl.md"]}
    content = client.vector_stores.files.content(ids["owl.md"], vector_store_id=store.id)
    assert "feathers" in content.data[0].text
    assert sorted(one.id for one in client.vector_stores.files.list(store.id)) == sorted(ids.values())
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=list(ids.values()))
    assert (batch.status, batch.file_counts.completed) == ("completed", 2)
    assert client.vector_stores.update(store.id, name="beasts").name == "beasts"
    assert store.id in [one.id for one in client.vector_stores.list(limit=1)]
    assert client.vector_stores.files.delete(ids["owl.md"], vector_store_id=store.id).deleted
    assert "owl.md" not in [one.filename for one in client.vector_stores.search(store.id, query="owls").data]
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(NotFoundError):
        client.vector_stores.retrieve(store.id)


def test_refusals(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="knowledge base"):
        client.vector_stores.search("vs_none", query="x")
    store = client.vector_stores.create(name="refusing")
    with pytest.raises(NotFoundError):
        client.vector_stores.files.create(store.id, file_id="file-none")
    client.vector_stores.delete(store.id)
