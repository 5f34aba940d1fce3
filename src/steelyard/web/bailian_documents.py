"""Actions of the data centre: categories, leases, files, tags, parsers. Source: bailian-openapi.md 5."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import DEFAULT_CATEGORY, SESSION_FILE, UNSTRUCTURED, Category, Document, Mark
from steelyard.dialects.bailian_wire import Parameters, create_time
from steelyard.knowledge.documents import MAX_DOCUMENT_BYTES, Documents, default_category, is_readable
from steelyard.knowledge.leases import Leases

Action = Callable[[Grant, str, Parameters], Awaitable[Any]]

KINDS = (UNSTRUCTURED, SESSION_FILE)
DEFAULT_PARSER = "DASHSCOPE_DOCMIND"
#: All of them are the one parser that is here; the name that was asked for is told again.
PARSERS = (
    DEFAULT_PARSER, "DOCMIND", "DOCMIND_DIGITAL", "DOCMIND_LLM_VERSION", "DASH_QWEN_VL_PARSER", "DOCMIND_LLM_VERSION_MEDIA", "AUTO_SELECT",
)  # fmt: skip
MAX_PAGE = 200
MAX_TAGS, MAX_TAG_CHARS = 100, 700


class DocumentActions:
    """The actions."""

    def __init__(self, documents: Documents, leases: Leases) -> None:
        self._documents = documents
        self._leases = leases

    def actions(self) -> dict[str, Action]:
        """Every action by its name."""
        return {
            "AddCategory": self.add_category,
            "ListCategory": self.list_category,
            "DeleteCategory": self.delete_category,
            "ApplyFileUploadLease": self.apply_lease,
            "ApplyTempStorageLease": self.apply_temp_lease,
            "AddFile": self.add_file,
            "DescribeFile": self.describe_file,
            "ListFile": self.list_file,
            "UpdateFileTag": self.update_tag,
            "BatchUpdateFileTag": self.batch_update_tag,
            "DeleteFile": self.delete_file,
            "DeleteFiles": self.delete_files,
            "GetAvailableParserTypes": self.list_parsers,
            "GetParseSettings": self.get_parse_settings,
            "ChangeParseSetting": self.change_parse_setting,
        }

    # categories

    async def add_category(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        name = asked.text("CategoryName", low=1, high=20)
        kind = _kind(asked, asked.text("CategoryType"))
        made = await self._documents.add_category(grant.workspace, name, kind, asked.text("ParentCategoryId", ""))
        return {"CategoryId": made.id, "CategoryName": made.name}

    async def list_category(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        filters = {"type": _kind(asked, asked.text("CategoryType"))}
        if asked.has("ParentCategoryId"):
            filters["parent_id"] = asked.text("ParentCategoryId", "")
        if asked.text("CategoryName", ""):
            filters["name"] = asked.text("CategoryName")
        size = asked.number("MaxResults", 20, 1, MAX_PAGE, clamps=True)
        mark = read_mark(asked)
        found, total = await self._documents.list_categories(grant.workspace, mark=mark, limit=size + 1, **filters)
        shown = [_show_category(one) for one in found[:size]]
        if mark is None and set(filters) == {"type"} and filters["type"] == UNSTRUCTURED:
            # it is there always, and first
            shown.insert(0, _show_category(default_category(grant.workspace)))
            total += 1
        return {"CategoryList": shown, **_page_end(found, size, total)}

    async def delete_category(self, grant: Grant, category_id: str, _asked: Parameters) -> Any:
        await self._documents.delete_category(grant.workspace, category_id)
        return {"CategoryId": category_id}

    # coming in

    async def apply_lease(self, grant: Grant, category_id: str, asked: Parameters) -> Any:
        await self._documents.get_category(grant.workspace, category_id)
        name = _file_name(asked)
        asked.text("Md5")
        lease, address = self._lease(grant, asked, name)
        return {"FileUploadLeaseId": lease, "Type": "HTTP", "Param": _upload_of(address)}

    async def apply_temp_lease(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        lease, address = self._lease(grant, asked, _file_name(asked))
        return {"TempStorageLeaseId": lease, "Type": "HTTP", "Param": _upload_of(address)}

    def _lease(self, grant: Grant, asked: Parameters, name: str) -> tuple[str, str]:
        asked.number("SizeInBytes", None, 1, MAX_DOCUMENT_BYTES)
        lease, address = self._leases.make(grant.workspace, name, now_us())
        return lease.id, address

    async def add_file(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        category = await self._documents.get_category(grant.workspace, asked.text("CategoryId"))
        kind = asked.text("CategoryType", "")
        if kind:
            category = msgspec.structs.replace(category, type=_kind(asked, kind))
        parser = _parser(asked)
        asked.json("ParserConfig", dict[str, Any], {})
        lease_id = asked.text("LeaseId", high=100)
        made = await self._documents.add_leased(
            grant, lease_id, category=category, parser=parser, tags=_tags(asked, asked.texts("Tags"))
        )
        return {"FileId": made.id, "Parser": made.parser}

    # telling

    async def describe_file(self, grant: Grant, file_id: str, _asked: Parameters) -> Any:
        document = await self._documents.get(grant.workspace, file_id)
        origin, parsed = await self._documents.links_of(document)
        return {**_show_file(document), "OriginFileDownloadUrl": origin, "ParseResultDownloadUrl": parsed}

    async def list_file(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        category_id = asked.text("CategoryId")
        await self._documents.get_category(grant.workspace, category_id)
        size = asked.number("MaxResults", 20, 1, MAX_PAGE, clamps=True)
        wanted = asked.texts("FileIds", high=20)
        if wanted:
            known = await self._documents.find_all(grant.workspace, wanted)
            found = [known[one] for one in wanted if one in known and known[one].category_id == category_id]
            return {"FileList": [_show_file(one) for one in found], **_page_end(found, MAX_PAGE, len(found))}
        found, total = await self._documents.list_page(
            grant.workspace, (category_id,), name_part=asked.text("FileName", ""), mark=read_mark(asked), limit=size + 1
        )
        return {"FileList": [_show_file(one) for one in found[:size]], **_page_end(found, size, total)}

    # changing

    async def update_tag(self, grant: Grant, file_id: str, asked: Parameters) -> Any:
        await self._documents.set_tags(grant.workspace, file_id, _tags(asked, asked.texts("Tags")))
        return {"FileId": file_id}

    async def batch_update_tag(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        """`FileInfos: [{"FileId", "Tags"}]`; the mode `overwrite` replaces tags, any other adds to them (inferred)."""
        infos: list[dict[str, Any]] = asked.json("FileInfos", list[dict[str, Any]], [])
        if not 1 <= len(infos) <= MAX_PAGE:
            raise asked.refuse("FileInfos", f"It must have 1 to {MAX_PAGE} items.")
        replaces = asked.text("UpdateMode", "overwrite").lower() in ("overwrite", "replace", "cover")
        updated = []
        for info in infos:
            named = {name.lower(): value for name, value in info.items()}
            document = await self._documents.get(grant.workspace, str(named.get("fileid", "")))
            tags = tuple(str(one) for one in named.get("tags") or ())
            merged = tags if replaces else tuple(dict.fromkeys((*document.tags, *tags)))
            await self._documents.set_tags(grant.workspace, document.id, _tags(asked, merged))
            updated.append(document.id)
        return {"FileIds": updated}

    async def delete_file(self, grant: Grant, file_id: str, _asked: Parameters) -> Any:
        await self._documents.delete(grant.workspace, file_id)
        return {"FileId": file_id}

    async def delete_files(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        wanted = asked.texts("FileIds", high=MAX_PAGE)
        if not wanted:
            raise asked.refuse("FileIds")
        known = await self._documents.find_all(grant.workspace, wanted)
        for file_id in known:
            await self._documents.delete(grant.workspace, file_id)
        return {"DeletedFileIds": list(known), "FailedFileIds": [one for one in wanted if one not in known]}

    # parsers

    async def list_parsers(self, _grant: Grant, _id: str, asked: Parameters) -> Any:
        kind = asked.text("FileType").lower().lstrip(".")
        if not is_readable(f"x.{kind}"):
            raise asked.refuse("FileType", "Files of this type are not read here.")
        return [{"Parser": DEFAULT_PARSER, "ParserDisplayName": "steelyard"}]

    async def get_parse_settings(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        await self._documents.get_category(grant.workspace, asked.text("CategoryId"))
        return [{"FileType": kind, "Parser": DEFAULT_PARSER, "ParserDisplayName": "steelyard"} for kind in _TYPES]

    async def change_parse_setting(self, grant: Grant, _id: str, asked: Parameters) -> Any:
        """Accepted where it asks for a parser that is known: there is one here, whatever it is called."""
        await self._documents.get_category(grant.workspace, asked.text("CategoryId"))
        asked.text("FileType")
        _parser(asked)
        return True


_TYPES = tuple(one for one in ("pdf", "docx", "pptx", "xlsx", "md", "txt", "html", "csv", "json", "epub") if is_readable(f"x.{one}"))  # fmt: skip


def _kind(asked: Parameters, kind: str) -> str:
    if kind not in KINDS:
        raise asked.refuse("CategoryType", f"It must be one of {', '.join(KINDS)}.")
    return kind


def _parser(asked: Parameters) -> str:
    parser = asked.text("Parser")
    if parser not in PARSERS:
        raise asked.refuse("Parser", f"It must be one of {', '.join(PARSERS)}.")
    return parser


def _file_name(asked: Parameters) -> str:
    name = asked.text("FileName", low=4, high=128)
    if "/" in name or "\\" in name or any(ord(letter) < 32 for letter in name):
        raise asked.refuse("FileName", "It must be a name without a path.")
    if not is_readable(name):
        raise asked.refuse("FileName", f"Its extension must be one of {', '.join(_TYPES)}.")
    return name


def _upload_of(address: str) -> dict[str, Any]:
    return {"Method": "PUT", "Url": address, "Headers": {"X-bailian-extra": "MTAw", "Content-Type": ""}}


def _tags(asked: Parameters, tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(tags) > MAX_TAGS or sum(map(len, tags)) > MAX_TAG_CHARS:
        raise asked.refuse("Tags", f"At most {MAX_TAGS} tags of {MAX_TAG_CHARS} characters together.")
    return tags


def _show_category(category: Category) -> dict[str, Any]:
    return {
        "CategoryId": category.id,
        "CategoryName": category.name,
        "CategoryType": category.type,
        "IsDefault": category.id == DEFAULT_CATEGORY,
        "ParentCategoryId": category.parent_id,
    }


def _show_file(document: Document) -> dict[str, Any]:
    status = document.status
    if document.category_type == SESSION_FILE and status == "PARSE_SUCCESS":
        status = "FILE_IS_READY"
    return {
        "FileId": document.id,
        "FileName": document.name,
        "FileType": document.suffix,
        "CategoryId": document.category_id,
        "Parser": document.parser or DEFAULT_PARSER,
        "Status": status,
        "SizeInBytes": document.size_bytes,
        "CreateTime": create_time(document.created_us),
        "Tags": list(document.tags),
        "ParseErrorMessage": document.message,
    }


def read_mark(asked: Parameters) -> Mark | None:
    """Where a page begins: behind what `NextToken` names."""
    token = asked.text("NextToken", "", high=300)
    if not token:
        return None
    try:
        created, _, identifier = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        return int(created), identifier
    except ValueError:
        raise fault("index_parameter", name="NextToken", param="NextToken") from None


def _page_end(found: Any, size: int, total: int) -> dict[str, Any]:
    has_next = len(found) > size
    token = ""
    if has_next:
        last = found[size - 1]
        token = base64.urlsafe_b64encode(f"{last.created_us}:{last.id}".encode()).decode()
    return {"HasNext": has_next, "NextToken": token, "MaxResults": size, "TotalCount": total}
