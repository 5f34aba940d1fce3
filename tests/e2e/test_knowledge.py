"""Knowledge bases by every API: who is let in, what comes in, what is found, and what is gone."""

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import knowledge_papers
from installation import Installation, Served
from signing import call, signed

ZH = "# 制度\n\n## 年假\n\n员工每年有五天带薪年假。\n\n## 报销\n\n发票须在六十天内提交。\n"
EN = "# Kettle\n\nThe kettle boils one litre in four minutes. Its guarantee covers two years.\n"


class House:
    """An installation with keys of two workspaces."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.origin = served.origin
        make = served.installation.create_key
        served.installation.cli("workspaces", "create", "neighbours")
        served.installation.cli("activate", "--workspace", "neighbours")
        self.signer = make("--kind", "access-key", name="signer")
        self.other_signer = make("--kind", "access-key", "--workspace", "neighbours", name="other-signer")
        self.other_key: str = make("--workspace", "neighbours", name="other")["key"]

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        headers = self.served.headers(key)
        return httpx.request(method, self.origin + path, json=body, headers=headers, timeout=60)

    def upload(self, name: str, data: bytes, key: str | None = None) -> str:
        answer = httpx.post(
            f"{self.origin}/v1/files",
            headers=self.served.headers(key),
            data={"purpose": "assistants"},
            files={"file": (name, data)},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def base(self, name: str = "base", key: str | None = None, **fields: Any) -> str:
        made = self.ask("POST", "/control/v1/knowledge-bases", {"name": name, **fields}, key)
        assert made.status_code == 201, made.text
        return made.json()["id"]

    def fill(self, base: str, documents: list[str], key: str | None = None) -> dict[str, Any]:
        path = f"/control/v1/knowledge-bases/{base}"
        job = self.ask("POST", f"{path}/documents", {"documents": documents}, key)
        assert job.status_code == 201, job.text
        for _ in range(600):
            told = self.ask("GET", f"{path}/jobs/{job.json()['id']}", key=key).json()
            if told["status"] not in ("PENDING", "RUNNING"):
                return told
            time.sleep(0.1)
        raise AssertionError("the job is not over")

    def search(self, base: str, query: str, key: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        answer = self.ask("POST", f"/control/v1/knowledge-bases/{base}/search", {"query": query, **fields}, key)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def documents(self, base: str) -> dict[str, dict[str, Any]]:
        found = self.ask("GET", f"/control/v1/knowledge-bases/{base}/documents?page_size=200").json()["data"]
        return {one["name"]: one for one in found}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    installation = Installation(tmp_path_factory.mktemp("house"))
    with installation:
        yield House(Served(installation))


@pytest.fixture(scope="module")
def filled(house: House) -> str:
    base = house.base("filled")
    files = [house.upload("制度.md", ZH.encode()), house.upload("kettle.md", EN.encode())]
    told = house.fill(base, files)
    assert (told["status"], told["documents"], told["done"], told["eta_s"]) == ("SUCCEEDED", {"FINISH": 2}, 2, 0)
    return base


# signatures

LIST = "/default/index/list_indices"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["Code"]


def test_signed(house: House) -> None:
    assert code_of(call(house.origin, house.signer, "GET", LIST)) == (200, "Success")
    query = {"IndexName": "年 假+~/*", "PageNumber": "1", "PageSize": "5"}
    assert code_of(call(house.origin, house.signer, "GET", LIST, query)) == (200, "Success")


def test_signature_refused(house: House) -> None:
    """A wrong secret, an old or a future date, a nonce for the second time, anything changed on the way."""
    origin, key = house.origin, house.signer
    wrong = call(origin, key, "GET", LIST, secret="another")
    assert code_of(wrong) == (400, "SignatureDoesNotMatch")
    assert "server string to sign is:ACS3-HMAC-SHA256" in wrong.json()["Message"]
    assert {"RequestId", "HostId", "Code", "Message", "Recommend"} <= wrong.json().keys()
    assert code_of(call(origin, key, "GET", LIST, date="2026-01-01T00:00:00Z")) == (400, "InvalidTimeStamp.Expired")
    assert code_of(call(origin, key, "GET", LIST, date="2099-01-01T00:00:00Z")) == (400, "InvalidTimeStamp.Expired")
    assert code_of(call(origin, key, "GET", LIST, date="yesterday")) == (400, "IncompleteSignature")
    assert code_of(call(origin, key, "GET", LIST, nonce="once-and-only")) == (200, "Success")
    assert code_of(call(origin, key, "GET", LIST, nonce="once-and-only")) == (400, "SignatureNonceUsed")
    stranger = {**key, "access_key_id": "LTAI5tNobody"}
    assert code_of(call(origin, stranger, "GET", LIST)) == (404, "InvalidAccessKeyId.NotFound")
    headers = signed(origin, key, "GET", LIST)
    changed = httpx.get(f"{origin}{LIST}?PageSize=5", headers=headers)
    assert code_of(changed) == (400, "SignatureDoesNotMatch")
    headers = signed(
        origin, key, "POST", "/default/datacenter/category/", None, b"CategoryName=a&CategoryType=UNSTRUCTURED"
    )
    changed = httpx.post(
        f"{origin}/default/datacenter/category/", headers=headers, content=b"CategoryName=b&CategoryType=UNSTRUCTURED"
    )
    assert code_of(changed) == (400, "IncompleteSignature")
    less = {name: value for name, value in signed(origin, key, "GET", LIST).items() if name != "x-acs-action"}
    assert code_of(httpx.get(origin + LIST, headers={**less, "x-acs-added": "1"}))[0] == 400
    assert httpx.get(origin + LIST).status_code == 400


def test_the_secret_is_no_key(house: House) -> None:
    """It signs; it is not sent. A disabled access key signs nothing any more."""
    answer = house.ask("GET", "/v1/models", key=house.signer["access_key_secret"])
    assert answer.status_code == 401
    assert "access key" in answer.json()["error"]["message"]
    made = house.served.installation.create_key("--kind", "access-key", name="short")
    assert code_of(call(house.origin, made, "GET", LIST)) == (200, "Success")
    house.served.installation.cli("keys", "disable", made["id"])
    assert code_of(call(house.origin, made, "GET", LIST))[0] == 401
    rotated = json.loads(house.served.installation.cli("keys", "rotate", house.other_signer["id"], "--grace", "1h", "--json").stdout)  # fmt: skip
    assert code_of(call(house.origin, rotated, "GET", "/neighbours/index/list_indices")) == (200, "Success")


def test_actions_that_are_not_here(house: House) -> None:
    for method, path in (
        ("POST", "/default/datacenter/connector"),
        ("POST", "/default/datacenter/table"),
        ("POST", "/default/datacenter/file/fromoss"),
        ("POST", "/default/index/create/"),
        ("GET", "/default/index/unheard"),
        ("GET", "/default/memories"),
    ):
        assert code_of(call(house.origin, house.signer, method, path)) == (404, "InvalidAction.NotFound"), path


def test_bearer(house: House) -> None:
    """An API key in the place that the SDK has for it."""
    answer = httpx.get(house.origin + LIST, headers={"x-acs-bearer-token": house.served.key})
    assert code_of(answer) == (200, "Success")
    refused = house.served.installation.create_key("--operations", "chat", name="chat-only")["key"]
    assert httpx.get(house.origin + LIST, headers={"x-acs-bearer-token": refused}).status_code == 403


# isolation


def test_no_workspace_sees_another(house: House, filled: str) -> None:
    """By no API, whatever is known of ids."""
    theirs = house.other_key
    document = house.documents(filled)["kettle.md"]["id"]
    for method, path, body in (
        ("GET", f"/control/v1/knowledge-bases/{filled}", None),
        ("POST", f"/control/v1/knowledge-bases/{filled}/search", {"query": "kettle"}),
        ("GET", f"/control/v1/knowledge-bases/{filled}/chunks", None),
        ("DELETE", f"/control/v1/knowledge-bases/{filled}", None),
        ("GET", f"/v1/vector_stores/{filled}", None),
        ("POST", f"/v1/vector_stores/{filled}/search", {"query": "kettle"}),
        ("GET", f"/v1/vector_stores/{filled}/files", None),
        ("POST", "/control/v1/search", {"query": "kettle", "knowledge_bases": [filled]}),
        ("POST", "/control/v1/search", {"query": "kettle", "files": [document]}),
    ):
        answer = house.ask(method, path, body, theirs)
        assert answer.status_code == 404, (method, path, answer.text)
    assert house.ask("GET", "/control/v1/knowledge-bases", key=theirs).json()["data"] == []
    assert house.ask("GET", "/control/v1/knowledge-bases?workspace=default", key=theirs).status_code == 403
    mine = house.base("theirs", theirs)
    refused = house.ask("POST", f"/control/v1/knowledge-bases/{mine}/documents", {"documents": [document]}, theirs)
    assert refused.status_code == 404
    query = {"IndexId": filled, "Query": "kettle"}
    other = house.other_signer
    denied = call(house.origin, other, "POST", "/default/index/retrieve", query)
    assert code_of(denied) == (403, "Index.NoWorkspacePermissions")
    assert code_of(call(house.origin, other, "POST", "/neighbours/index/retrieve", query)) == (
        400,
        "Index.InvalidParameter",
    )
    assert code_of(call(house.origin, other, "GET", f"/neighbours/datacenter/file/{document}/"))[0] == 400
    admin = house.served.admin_key
    named = house.ask("GET", "/control/v1/knowledge-bases?workspace=neighbours", key=admin).json()["data"]
    assert [one["id"] for one in named] == [mine]
    assert house.search(filled, "kettle")


# what comes in, and what is found


def test_search(house: House, filled: str) -> None:
    """Both languages, two characters, where it stands, and nothing where nothing is."""
    assert "五天" in house.search(filled, "年假")[0]["text"]
    first = house.search(filled, "水壶保修多久")[0]
    assert "two years" in first["text"]
    assert (first["document_name"], first["headings"]) == ("kettle.md", ["Kettle"])
    assert house.search(filled, "年假", mode="text")[0]["words_place"] == 1
    assert house.search(filled, "zebra crossing colours", min_score=0.9) == []
    assert (
        house.ask("POST", f"/control/v1/knowledge-bases/{filled}/search", {"query": "a", "mode": "x"}).status_code
        == 400
    )


def test_unchanged_and_duplicate(house: House) -> None:
    """The same again is no work; the same content under another name is told."""
    base = house.base("twice")
    one = house.upload("one.md", EN.encode())
    assert house.fill(base, [one])["documents"] == {"FINISH": 1}
    tokens = usage_of(house)
    assert tokens > 0
    assert house.fill(base, [one])["documents"] == {"FINISH": 1}
    assert usage_of(house) == tokens
    two = house.upload("two.md", EN.encode())
    assert house.fill(base, [two])["documents"] == {"INSERT_ERROR": 1}
    said = house.documents(base)["two.md"]
    assert said["code"] == "DocumentDuplicate"
    assert "one.md" in said["message"]
    assert len(house.search(base, "kettle", limit=10)) == 1


def usage_of(house: House) -> int:
    """Prompt tokens so far: what was embedded is in the ledger."""
    time.sleep(1.5)
    rows = house.ask("GET", "/control/v1/usage?by=model").json()
    return sum(one["prompt_tokens"] for one in rows["data"])


def test_deleted_is_gone(house: House) -> None:
    """From the next question on, whichever way it went."""
    base = house.base("gone")
    files = [
        house.upload(f"{number}.md", f"The password of room {number} is swordfish.".encode()) for number in range(3)
    ]
    house.fill(base, files)
    assert len(house.search(base, "password", limit=10)) == 3
    house.ask("DELETE", f"/control/v1/knowledge-bases/{base}/documents/{files[0]}")
    assert {one["document"] for one in house.search(base, "password", limit=10)} == set(files[1:])
    house.ask("DELETE", f"/v1/files/{files[1]}")
    assert {one["document"] for one in house.search(base, "password", limit=10)} == {files[2]}
    chunk = house.search(base, "password")[0]["chunk"]
    off = house.ask("PUT", f"/control/v1/knowledge-bases/{base}/chunks/{chunk}", {"enabled": False})
    assert off.json()["enabled"] is False
    assert house.search(base, "password") == []
    house.ask("PUT", f"/control/v1/knowledge-bases/{base}/chunks/{chunk}", {"enabled": True})
    assert house.search(base, "password")
    assert house.ask("DELETE", f"/control/v1/knowledge-bases/{base}").json()["deleted"]
    assert house.ask("POST", f"/control/v1/knowledge-bases/{base}/search", {"query": "password"}).status_code == 404


def test_formats_and_places(house: House, tmp_path: Path) -> None:
    """Every format comes in, and a passage tells its page, slide or sheet."""
    base = house.base("formats")
    files = []
    for name, make in (
        ("a.pdf", knowledge_papers.pdf),
        ("b.docx", knowledge_papers.docx),
        ("c.pptx", knowledge_papers.pptx),
    ):
        make(tmp_path / name)
        files.append(house.upload(name, (tmp_path / name).read_bytes()))
    for name, text in (
        ("d.html", "<html><body><h1>Owls</h1><p>Owls hunt by night.</p><script>alert(1)</script></body></html>"),
        ("e.csv", "animal,legs\nspider,8\nant,6\n"),
        ("f.json", '{"planet": "Saturn", "rings": true}'),
        ("g.txt", "潜水艇在水下航行。"),
    ):
        files.append(house.upload(name, text.encode("gb18030" if name == "g.txt" else "utf-8")))
    told = house.fill(base, files)
    assert told["documents"] == {"FINISH": len(files)}, house.documents(base)
    places = {
        one["document_name"]: one["place"]
        for query in ("steelyard weighs", "杆秤 秤杆")
        for one in house.search(base, query, limit=10)
    }
    assert places["a.pdf"].startswith("page ")
    assert places["c.pptx"].startswith("slide ")
    assert "Owls hunt" in house.search(base, "which bird hunts at night")[0]["text"]
    assert "spider | 8" in house.search(base, "spider legs")[0]["text"]
    assert "潜水艇" in house.search(base, "潜水")[0]["text"]


def test_hostile_documents(house: House, tmp_path: Path) -> None:
    """Each fails by itself with a reason; the good one beside them comes in."""
    bomb = tmp_path / "bomb.docx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        with out.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(600):
                part.write(b"\0" * 1024 * 1024)
        out.writestr("[Content_Types].xml", knowledge_papers._TYPES)
        out.writestr("_rels/.rels", knowledge_papers._RELATIONS)
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(10))
    xml = f'<?xml version="1.0"?><!DOCTYPE x [{laughs}]><x>&a9;</x>'
    outside = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&e;</w:t></w:r></w:p></w:body></w:document>'
    for name, text in (("laughs.docx", xml), ("outside.docx", outside)):
        with zipfile.ZipFile(tmp_path / name, "w") as out:
            out.writestr("[Content_Types].xml", knowledge_papers._TYPES)
            out.writestr("_rels/.rels", knowledge_papers._RELATIONS)
            out.writestr("word/document.xml", text)
    knowledge_papers.pdf(tmp_path / "whole.pdf")
    whole = (tmp_path / "whole.pdf").read_bytes()
    locked = whole.replace(
        b"/Root 1 0 R", b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /O (x) /U (y) /P -4 >>"
    )
    papers = {
        "bomb.docx": bomb.read_bytes(),
        "laughs.docx": (tmp_path / "laughs.docx").read_bytes(),
        "outside.docx": (tmp_path / "outside.docx").read_bytes(),
        "broken.pdf": whole[: len(whole) // 3],
        "locked.pdf": locked,
        "noise.xlsx": hashlib.sha256(b"x").digest() * 1000,
        "empty.md": b"   \n\n",
        "deep.json": b"[" * 100_000 + b"]" * 100_000,
        "good.md": EN.encode(),
    }
    base = house.base("hostile")
    files = {name: house.upload(name, data) for name, data in papers.items()}
    told = house.fill(base, list(files.values()))
    assert told["status"] == "SUCCEEDED"
    states = house.documents(base)
    assert states["good.md"]["status"] == "FINISH"
    assert all(one["status"] in ("FINISH", "PARSE_FAILED", "INSERT_ERROR") for one in states.values())
    for name in papers.keys() - {"good.md", "outside.docx", "deep.json"}:
        assert states[name]["status"] in ("PARSE_FAILED", "INSERT_ERROR"), (name, states[name])
        assert states[name]["message"], name
    assert all(
        "root:" not in one["text"] for one in house.search(base, "root passwd bin bash", limit=20, min_score=0.0)
    )
    # formulas stay text, and a name leads nowhere
    cells = house.upload("cells.csv", b'name,value\n"=HYPERLINK(""http://evil"")",1\n')
    path = house.upload("..\\..\\etc\\evil.md", b"A name with path tricks.")
    assert house.fill(base, [cells, path])["documents"] == {"FINISH": 2}
    assert "=HYPERLINK" in house.search(base, "HYPERLINK", mode="text")[0]["text"]


def test_tags_and_pages_of_the_data_centre(house: House) -> None:
    """Pages by their tokens, and ids in the wrong places as a clear refusal."""
    origin, key = house.origin, house.signer
    form = {"CategoryName": "many", "CategoryType": "UNSTRUCTURED"}
    category = call(origin, key, "POST", "/default/datacenter/category/", form=form).json()["Data"]["CategoryId"]
    made = []
    for number in range(5):
        data = f"Paper number {number} about lighthouses.".encode()
        form = {"FileName": f"paper{number}.txt", "Md5": hashlib.md5(data).hexdigest(), "SizeInBytes": str(len(data))}
        lease = call(origin, key, "POST", f"/default/datacenter/category/{category}", form=form).json()["Data"]
        nothing = call(origin, key, "PUT", "/default/datacenter/file", form={"LeaseId": lease["FileUploadLeaseId"], "Parser": "DOCMIND", "CategoryId": category})  # fmt: skip
        assert nothing.json()["Code"] == "Index.InvalidParameter"
        put = httpx.put(lease["Param"]["Url"], content=data, headers=lease["Param"]["Headers"])
        assert put.status_code == 200
        added = call(origin, key, "PUT", "/default/datacenter/file", form={"LeaseId": lease["FileUploadLeaseId"], "Parser": "DOCMIND", "CategoryId": category, "Tags": '["sea"]'})  # fmt: skip
        made.append(added.json()["Data"]["FileId"])
    seen: list[str] = []
    token = ""
    while True:
        query = {"CategoryId": category, "MaxResults": "2", **({"NextToken": token} if token else {})}
        page = call(origin, key, "GET", "/default/datacenter/files", query).json()["Data"]
        seen += [one["FileId"] for one in page["FileList"]]
        assert page["TotalCount"] == 5
        token = page["NextToken"]
        if not page["HasNext"]:
            break
    assert sorted(seen) == sorted(made)
    assert call(origin, key, "GET", "/default/datacenter/file/default/").status_code == 400
    swapped = call(origin, key, "DELETE", f"/{made[0]}/datacenter/file/default/")
    assert code_of(swapped) == (403, "Index.NoWorkspacePermissions")
    assert call(origin, key, "DELETE", f"/default/datacenter/category/{category}/").status_code == 400
    done = call(origin, key, "POST", "/default/datacenter/file/delete", form={"FileIds": json.dumps(made)}).json()
    assert sorted(done["Data"]["DeletedFileIds"]) == sorted(made)
    assert call(origin, key, "DELETE", f"/default/datacenter/category/{category}/").status_code == 200


def test_tasks_of_other_kinds_are_told_alone(house: House, filled: str) -> None:
    """The vendor's list of tasks has none of knowledge bases; the operator's has."""
    assert house.search(filled, "kettle")
    assert house.ask("GET", "/api/v1/tasks").json()["data"] == []
    kinds = {one["kind"] for one in house.ask("GET", "/control/v1/tasks", key=house.served.admin_key).json()["data"]}
    assert "ingestion" in kinds


@pytest.mark.parametrize("spoilt", ["", "nonsense", "AAAA.BBBB", "%2e%2e%2f"])
def test_forged_leases(house: House, spoilt: str) -> None:
    assert httpx.put(f"{house.origin}/leases/{spoilt}", content=b"x").status_code in (403, 404)


def test_vector_store_by_hand(house: House) -> None:
    """Filters by attributes; a batch; files listed in pages; what goes with an error says so."""
    store = house.ask("POST", "/v1/vector_stores", {"name": "by hand"}).json()["id"]
    files = [
        house.upload(f"f{year}.md", f"The report of {year} speaks of windmills.".encode())
        for year in (2023, 2024, 2025)
    ]
    wanted = [{"file_id": one, "attributes": {"year": 2023 + number}} for number, one in enumerate(files)]
    batch = house.ask("POST", f"/v1/vector_stores/{store}/file_batches", {"files": wanted}).json()
    for _ in range(300):
        batch = house.ask("GET", f"/v1/vector_stores/{store}/file_batches/{batch['id']}").json()
        if batch["status"] != "in_progress":
            break
        time.sleep(0.1)
    assert batch["file_counts"] == {"in_progress": 0, "completed": 3, "failed": 0, "cancelled": 0, "total": 3}
    newer = {"type": "gte", "key": "year", "value": 2024}
    found = house.ask("POST", f"/v1/vector_stores/{store}/search", {"query": "windmills", "filters": newer}).json()
    assert {one["file_id"] for one in found["data"]} == set(files[1:])
    both = {"type": "and", "filters": [newer, {"type": "ne", "key": "year", "value": 2025}]}
    found = house.ask("POST", f"/v1/vector_stores/{store}/search", {"query": "windmills", "filters": both}).json()
    assert [one["file_id"] for one in found["data"]] == [files[1]]
    for wrong in ({"type": "near", "key": "a", "value": 1}, {"type": "and", "filters": []}, {"type": "eq", "value": 1}):
        refused = house.ask("POST", f"/v1/vector_stores/{store}/search", {"query": "x", "filters": wrong})
        assert refused.status_code == 400, wrong
    first = house.ask("GET", f"/v1/vector_stores/{store}/files?limit=2").json()
    rest = house.ask("GET", f"/v1/vector_stores/{store}/files?limit=2&after={first['last_id']}").json()
    assert first["has_more"]
    assert not rest["has_more"]
    assert {one["id"] for one in (*first["data"], *rest["data"])} == set(files)
    assert (
        house.ask("POST", "/v1/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 1}}).status_code
        == 400
    )
    assert house.ask("POST", "/v1/vector_stores", {"name": "x", "embedding_model": "nosuch"}).status_code == 400


def test_rest_variant(house: House, filled: str) -> None:
    """The same by API key and snake case, with names in any casing."""
    found = house.ask("POST", "/api/v1/indices/rag/index/retrieve", {"index_id": filled, "query": "年假"}).json()
    assert (found["code"], found["status_code"], found["success"]) == ("Success", 200, True)
    assert "五天" in found["data"]["nodes"][0]["text"]
    listed = house.ask("GET", "/api/v1/indices/rag/index/list?page_number=1&page_size=50").json()
    assert filled in [one["id"] for one in listed["data"]["indices"]]
    chunks = house.ask("POST", "/api/v1/indices/rag/index/chunklist", {"indexId": filled, "pageNum": 1}).json()
    assert chunks["data"]["total"] >= 3
    wrong = house.ask("POST", "/api/v1/indices/rag/index/retrieve", {"query": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "Index.InvalidParameter")
    assert "IndexId" in wrong.json()["message"]
    document = house.documents(filled)["kettle.md"]["id"]
    made = house.ask("POST", "/api/v1/indices/rag/index/create_v2", {"name": "v2", "docIds": [document]}).json()["data"]
    for _ in range(300):
        told = house.ask(
            "GET", f"/api/v1/indices/rag/index_job/status?index_id={made['id']}&job_id={made['job_id']}"
        ).json()
        if told["data"]["status"] == "COMPLETED":
            break
        time.sleep(0.1)
    files = house.ask("GET", f"/api/v1/indices/rag/index/files?index_id={made['id']}").json()
    assert [one["id"] for one in files["data"]["documents"]] == [document]
    assert house.ask("POST", "/api/v1/indices/rag/index/delete", {"index_id": made["id"]}).json()["success"]


def test_search_over_files(house: House) -> None:
    """Files that no base has, read when they are first asked for."""
    one = house.upload("tides.md", b"The tide turns every six hours.")
    two = house.upload("broken.pdf", b"%PDF-1.4 nothing")
    found = house.ask("POST", "/control/v1/search", {"query": "when does the tide turn", "files": [one, two]}).json()
    assert found["data"][0]["document"] == one
    assert found["pending"] == []
    assert set(found["failed"]) == {two}
    again = house.ask("POST", "/control/v1/search", {"query": "潮汐多久变一次", "files": [one]}).json()
    assert again["data"][0]["document"] == one


def test_command_line(house: House, tmp_path: Path) -> None:
    """A folder put in, put in again, changed, asked, measured."""
    environment = {"STEELYARD_API_KEY": house.served.key}
    at = ("--base-url", house.origin)

    def kb(*words: str, check: bool = True) -> str:
        return house.served.installation.cli("kb", *words, *at, check=check, **environment).stdout.strip()

    folder = tmp_path / "papers" / "deep"
    folder.mkdir(parents=True)
    (folder / "bees.md").write_text("Bees dance to tell where flowers are.")
    (folder.parent / "ants.txt").write_text("Ants follow a trail of scent.")
    (folder.parent / "picture.bmp").write_bytes(b"BM")
    base = kb("create", "animals")
    assert "2 of 2 files, 0 unchanged" in kb("add", base, str(folder.parent))
    assert kb("add", base, str(folder.parent)) == ""
    (folder.parent / "ants.txt").write_text("Ants herd aphids for honeydew.")
    assert "1 of 1 files, 1 unchanged" in kb("add", base, str(folder.parent))
    assert "aphids" in kb("search", base, "what do ants herd")
    assert "scent" not in kb("chunks", base)
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "how do bees tell of flowers", "documents": ["deep_bees"]}\n')
    told = json.loads(kb("bench", base, str(questions), "--json"))
    assert told["hybrid+rerank"]["hit_at_1"] == 1.0
    assert {"vectors", "text", "hybrid", "hybrid+rerank"} == set(told)
    assert "bees.md" in kb("documents", base)
    assert base in kb("list")
    kb("delete", base)
    assert base not in kb("list")


def test_limits_are_met(house: House) -> None:
    """What is embedded counts in the key's budget, and a question is one call: a key of one place does not wait for itself."""
    narrow = house.served.installation.create_key("--concurrency", "1", "--rpm", "5", name="narrow")["key"]
    base = house.base("narrow", narrow)
    for number in range(3):
        house.fill(base, [house.upload(f"n{number}.md", f"Story {number} of the lamplighter.".encode())], narrow)
    assert house.search(base, "lamplighter", narrow)
    only_chat = house.served.installation.create_key("--models", "qwen-plus", name="only-chat")["key"]
    refused = house.ask("POST", f"/control/v1/knowledge-bases/{base}/search", {"query": "lamplighter"}, only_chat)
    assert refused.status_code == 403
    assert "e5" in refused.text or "use-multilingual" in refused.text
    # a token's own budget holds for what its questions are made of
    spend = {"spend": {"amount": 20, "unit": "tokens"}}
    token = house.ask("POST", "/api/v1/tokens", spend).json()["token"]
    statuses = [
        house.ask("POST", f"/control/v1/knowledge-bases/{base}/search", {"query": "lamplighter"}, token).status_code
        for _ in range(6)
    ]
    assert statuses[0] in (200, 429)
    assert statuses[-1] == 429


def test_body_where_the_query_should_be(house: House) -> None:
    """A body that is no form, a number that is none, a list that is none: each names the parameter."""
    query = {"IndexId": "x", "DocumentIds": "not json"}
    answer = call(house.origin, house.signer, "POST", "/default/index/delete_index_document", query)
    assert code_of(answer) == (400, "Index.InvalidParameter")
    query = {"Name": "n", "StructureType": "unstructured", "SourceType": "DATA_CENTER_FILE", "SinkType": "BUILT_IN"}
    for name, value in (("ChunkSize", "many"), ("ChunkSize", "9000"), ("OverlapSize", "600"), ("chunkMode", "h9"),
                        ("RerankMinScore", "2"), ("Description", "x" * 201), ("DocumentIds", "{}")):  # fmt: skip
        told = call(house.origin, house.signer, "POST", "/default/index/create", {**query, name: value})
        assert code_of(told) == (400, "Index.InvalidParameter"), name
        assert f"({name})" in told.json()["Message"]
