"""The vendor's own SDK of knowledge bases, unmodified: only its endpoint is another one."""

import hashlib
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alibabacloud_bailian20231229 import models
from alibabacloud_bailian20231229.client import Client
from alibabacloud_tea_openapi import models as openapi
from darabonba.exceptions import DaraException
from Tea.exceptions import TeaException

from conftest import TARGETS

TARGET = TARGETS["embedded"]
ENDPOINT = urlsplit(TARGET["origin"]).netloc
WORKSPACE = "default"
HANDBOOK = """# 员工手册

## 请假

员工入职满一年后每年有五天带薪年假，满十年增至十天。病假超过两天须提交医院开具的诊断证明。

## 报销

电子发票须上传原始文件，截图不能报销。出差住宿每晚不超过六百元。

## Travel

The travel desk books flights; economy class is the rule below eight hours.
"""
CATALOGUE = """# Products

The kettle K2 boils one litre in four minutes. Its guarantee covers two years.

The toaster T7 has six levels. Crumbs are emptied from the tray below.
"""


@pytest.fixture(scope="module")
def client() -> Client:
    config = openapi.Config(
        access_key_id=TARGET["access_key_id"],
        access_key_secret=TARGET["access_key_secret"],
        endpoint=ENDPOINT,
        protocol="http",
        read_timeout=30_000,
    )
    return Client(config)


def upload(client: Client, path: Path, category: str = "default") -> str:
    """Lease, upload, add; the file's id."""
    data = path.read_bytes()
    asked = models.ApplyFileUploadLeaseRequest(
        file_name=path.name, md_5=hashlib.md5(data).hexdigest(), size_in_bytes=str(len(data))
    )
    lease = client.apply_file_upload_lease(category, WORKSPACE, asked).body
    assert (lease.success, lease.code, lease.status) == (True, "Success", "200")
    headers = dict(lease.data.param.headers)
    put = urllib.request.Request(lease.data.param.url, data=data, method=lease.data.param.method, headers=headers)
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 200
    added = client.add_file(
        WORKSPACE,
        models.AddFileRequest(
            lease_id=lease.data.file_upload_lease_id, parser="DASHSCOPE_DOCMIND", category_id=category
        ),
    ).body
    assert added.data.parser == "DASHSCOPE_DOCMIND"
    # asked again after a lost answer, it is the same file
    again = client.add_file(
        WORKSPACE,
        models.AddFileRequest(
            lease_id=lease.data.file_upload_lease_id, parser="DASHSCOPE_DOCMIND", category_id=category
        ),
    ).body
    assert again.data.file_id == added.data.file_id
    return added.data.file_id


def wait_parsed(client: Client, file_id: str) -> models.DescribeFileResponseBodyData:
    for _ in range(300):
        told = client.describe_file(WORKSPACE, file_id, models.DescribeFileRequest()).body.data
        if told.status not in ("INIT", "IN_PARSE_QUEUE", "PARSING"):
            return told
        time.sleep(0.1)
    raise AssertionError("the file is not parsed")


def wait_job(client: Client, index_id: str, job_id: str) -> models.GetIndexJobStatusResponseBodyData:
    for _ in range(600):
        asked = models.GetIndexJobStatusRequest(index_id=index_id, job_id=job_id)
        told = client.get_index_job_status(WORKSPACE, asked).body.data
        if told.status in ("COMPLETED", "FAILED"):
            return told
        time.sleep(0.1)
    raise AssertionError("the job is not over")


@pytest.fixture(scope="module")
def files(client: Client, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("documents")
    found = []
    for name, text in (("员工手册.md", HANDBOOK), ("catalogue.md", CATALOGUE)):
        (folder / name).write_text(text, encoding="utf-8")
        found.append(upload(client, folder / name))
    for file_id in found:
        told = wait_parsed(client, file_id)
        assert (told.status, told.file_type, told.parse_error_message or "") == ("PARSE_SUCCESS", "md", "")
    return found


@pytest.fixture(scope="module")
def index_id(client: Client, files: list[str]) -> Iterator[str]:
    made = client.create_index(
        WORKSPACE,
        models.CreateIndexRequest(
            name="手册",
            structure_type="unstructured",
            source_type="DATA_CENTER_FILE",
            sink_type="BUILT_IN",
            document_ids=files,
            embedding_model_name="text-embedding-v4",
            rerank_model_name="gte-rerank-hybrid",
            chunk_size=200,
            overlap_size=20,
        ),
    ).body.data.id
    job = client.submit_index_job(WORKSPACE, models.SubmitIndexJobRequest(index_id=made)).body.data
    assert job.index_id == made
    told = wait_job(client, made, job.id)
    assert told.status == "COMPLETED"
    assert {one.doc_id: one.status for one in told.documents} == dict.fromkeys(files, "FINISH")
    yield made
    client.delete_index(WORKSPACE, models.DeleteIndexRequest(index_id=made))
    left = client.list_indices(WORKSPACE, models.ListIndicesRequest()).body.data.indices
    assert made not in [one.id for one in left]


def retrieve(client: Client, index_id: str, query: str, **fields: object) -> list[models.RetrieveResponseBodyDataNodes]:
    asked = models.RetrieveRequest(index_id=index_id, query=query, **fields)
    return client.retrieve(WORKSPACE, asked).body.data.nodes


def test_retrieve(client: Client, index_id: str, files: list[str]) -> None:
    """The right passage comes first, in both languages and across them, with its scores in order."""
    for query, words in (
        ("年假有几天", "五天带薪年假"),
        ("发票能用截图吗", "截图不能报销"),
        ("how long is the guarantee of the kettle", "two years"),
        ("烤面包机怎么清理碎屑", "Crumbs"),
        ("报销", "报销"),
    ):
        nodes = retrieve(client, index_id, query)
        assert words in nodes[0].text, (query, [one.text[:40] for one in nodes])
        scores = [one.score for one in nodes]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= one <= 1 for one in scores)
        assert nodes[0].metadata["doc_id"] in files
        assert nodes[0].metadata["pipeline_id"] == index_id
    assert len(retrieve(client, index_id, "年假", rerank_top_n=2)) <= 2
    assert retrieve(client, index_id, "年假", enable_reranking=False)
    long = "年假 " * 4000
    assert retrieve(client, index_id, long)
    only = retrieve(client, index_id, "年假 kettle", search_filters=[{"doc_id": files[1]}])
    assert {one.metadata["doc_id"] for one in only} == {files[1]}


def test_index_is_told(client: Client, index_id: str, files: list[str]) -> None:
    found = client.list_indices(WORKSPACE, models.ListIndicesRequest(index_name="手册")).body.data
    assert found.total_count == 1
    one = found.indices[0]
    assert (one.id, one.name, one.chunk_size, one.overlap_size) == (index_id, "手册", 200, 20)
    assert (one.embedding_model_name, one.rerank_model_name) == ("text-embedding-v4", "gte-rerank-hybrid")
    listed = client.list_index_documents(WORKSPACE, models.ListIndexDocumentsRequest(index_id=index_id)).body.data
    assert sorted(row.id for row in listed.documents) == sorted(files)
    assert {row.status for row in listed.documents} == {"FINISH"}
    details = client.list_index_file_details(
        WORKSPACE, models.ListIndexFileDetailsRequest(index_id=index_id, document_name="员工手册.md")
    ).body.data
    assert [row.id for row in details.documents] == [files[0]]
    client.update_index(WORKSPACE, models.UpdateIndexRequest(id=index_id, description="of the staff"))
    again = client.list_indices(WORKSPACE, models.ListIndicesRequest()).body.data.indices[0]
    assert again.description == "of the staff"


def test_chunks(client: Client, index_id: str, files: list[str]) -> None:
    """Listed, changed, added, deleted: the next question sees it."""
    asked = models.ListChunksRequest(index_id=index_id, file_id=files[0], page_num=1, page_size=50)
    found = client.list_chunks(WORKSPACE, asked).body.data
    assert found.total == len(found.nodes) >= 3
    leave = next(one for one in found.nodes if "年假" in one.text)
    changed = client.update_chunk(
        WORKSPACE,
        models.UpdateChunkRequest(
            pipeline_id=index_id,
            data_id=files[0],
            chunk_id=leave.metadata["_id"],
            content="年假从今年起改为十二天，须提前一周申请。",
        ),
    ).body
    assert changed.data is True
    assert "十二天" in retrieve(client, index_id, "年假有几天")[0].text
    added = client.add_chunk(
        WORKSPACE,
        models.AddChunkRequest(
            pipeline_id=index_id, data_id=files[0], field={"content": "班车每天早上七点半从东门发车。"}
        ),
    ).body
    assert added.success
    bus = retrieve(client, index_id, "班车几点发车")[0]
    assert "七点半" in bus.text
    client.delete_chunk(WORKSPACE, models.DeleteChunkRequest(pipeline_id=index_id, chunk_ids=[bus.metadata["_id"]]))
    assert not any("七点半" in one.text for one in retrieve(client, index_id, "班车几点发车"))


def test_categories_and_files(client: Client, tmp_path: Path) -> None:
    made = client.add_category(
        WORKSPACE, models.AddCategoryRequest(category_name="合同", category_type="UNSTRUCTURED")
    ).body.data
    listed = client.list_category(WORKSPACE, models.ListCategoryRequest(category_type="UNSTRUCTURED")).body.data
    assert {"Default", "合同"} <= {one.category_name for one in listed.category_list}
    path = tmp_path / "contract.txt"
    path.write_bytes("合同编号一二三，保密期限五年。".encode("gb18030"))
    file_id = upload(client, path, made.category_id)
    assert wait_parsed(client, file_id).status == "PARSE_SUCCESS"
    asked = models.ListFileRequest(category_id=made.category_id)
    assert [one.file_id for one in client.list_file(WORKSPACE, asked).body.data.file_list] == [file_id]
    client.update_file_tag(WORKSPACE, file_id, models.UpdateFileTagRequest(tags=["legal", "2026"]))
    told = client.describe_file(WORKSPACE, file_id, models.DescribeFileRequest()).body.data
    assert told.tags == ["legal", "2026"]
    index = client.create_index(
        WORKSPACE,
        models.CreateIndexRequest(
            name="contracts",
            structure_type="unstructured",
            source_type="DATA_CENTER_CATEGORY",
            sink_type="BUILT_IN",
            category_ids=[made.category_id],
        ),
    ).body.data.id
    job = client.submit_index_job(WORKSPACE, models.SubmitIndexJobRequest(index_id=index)).body.data
    assert wait_job(client, index, job.id).status == "COMPLETED"
    # GB18030 was read as what it is
    assert "保密期限五年" in retrieve(client, index, "保密多久")[0].text
    assert retrieve(client, index, "保密多久", search_filters=[{"tags": '["legal"]'}])
    assert not retrieve(client, index, "保密多久", search_filters=[{"tags": '["other"]'}])
    # what is deleted is gone from the next question on
    client.delete_file(file_id, WORKSPACE, models.DeleteFileRequest())
    assert not retrieve(client, index, "保密多久")
    assert client.list_file(WORKSPACE, asked).body.data.file_list == []
    client.delete_category(made.category_id, WORKSPACE, models.DeleteCategoryRequest())
    client.delete_index(WORKSPACE, models.DeleteIndexRequest(index_id=index))


def test_refusals(client: Client, index_id: str) -> None:
    """As documented, with the code that callers look for."""

    def code_of(call: object, *args: object) -> tuple[str, int]:
        with pytest.raises((TeaException, DaraException)) as caught:
            call(*args)  # type: ignore[operator]
        return caught.value.code, caught.value.status_code

    missing = models.RetrieveRequest(index_id="nosuchindex", query="x")
    assert code_of(client.retrieve, WORKSPACE, missing) == ("Index.InvalidParameter", 400)
    assert code_of(client.retrieve, "other", missing) == ("Index.NoWorkspacePermissions", 403)
    too_long = models.CreateIndexRequest(
        name="x" * 21, structure_type="unstructured", source_type="DATA_CENTER_FILE", sink_type="BUILT_IN"
    )
    assert code_of(client.create_index, WORKSPACE, too_long) == ("Index.InvalidParameter", 400)
    empty = models.CreateIndexRequest(
        name="empty", structure_type="unstructured", source_type="DATA_CENTER_FILE", sink_type="BUILT_IN"
    )
    made = client.create_index(WORKSPACE, empty).body.data.id
    with pytest.raises((TeaException, DaraException)) as caught:
        client.submit_index_job(WORKSPACE, models.SubmitIndexJobRequest(index_id=made))
    assert "Required parameter(data_sources) missing or invalid" in caught.value.message
    client.delete_index(WORKSPACE, models.DeleteIndexRequest(index_id=made))
    wrong = Client(
        openapi.Config(
            access_key_id=TARGET["access_key_id"],
            access_key_secret="wrong",
            endpoint=ENDPOINT,
            protocol="http",
        )
    )
    assert code_of(wrong.list_indices, WORKSPACE, models.ListIndicesRequest()) == ("SignatureDoesNotMatch", 400)
    stranger = Client(
        openapi.Config(
            access_key_id="LTAI5tStranger",
            access_key_secret="x",
            endpoint=ENDPOINT,
            protocol="http",
        )
    )
    assert code_of(stranger.list_indices, WORKSPACE, models.ListIndicesRequest()) == (
        "InvalidAccessKeyId.NotFound",
        404,
    )


def test_api_key_in_place_of_an_access_key(index_id: str) -> None:
    config = openapi.Config(
        bearer_token=TARGET["key"],
        endpoint=ENDPOINT,
        protocol="http",
    )
    found = Client(config).list_indices(WORKSPACE, models.ListIndicesRequest()).body.data.indices
    assert index_id in [one.id for one in found]
