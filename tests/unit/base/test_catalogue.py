"""The error catalogue: complete, in both languages, and found again by every text it knows."""

import pytest

from steelyard.base.catalogue import BY_SLUG, ROWS
from steelyard.base.errors import PUBLIC_STATUSES, Fault, fault
from steelyard.base.explain import explain
from steelyard.dialects import openai_errors

PUBLIC_TEXTS = {
    "No api key provided": "api_key_missing",
    "the api_key client option must be set": "api_key_missing",
    "You do not have access to this model": "model_not_granted",
    "The model is not available": "model_not_found",
    "Request already processed": "request_already_processed",
    "File is too large": "file_too_large",
    "Invalid file format": "unsupported_file_format",
    "Too Many Requests": "limit_requests",
    "An internal error occurred": "internal_error",
    "Bad Gateway": "bad_gateway",
    "Service Unavailable": "overloaded",
    "Gateway Timeout": "upstream_timeout",
    "Required body invalid": "body_invalid",
    "you must provide a model parameter": "model_missing",
    "temperature must be Float": "parameter_type",
    "Download the media resource timed out during the data inspection process": "media_download_failed",
    "Reference image download failed, please check image url.": "media_download_failed",
}


def test_slugs_are_unique() -> None:
    """A slug names one row."""
    assert len(BY_SLUG) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_every_row_is_complete_and_renders(row) -> None:
    """Cause and cure in both languages; renders before and after the first byte; its class agrees with its blame."""
    assert all(row.cause)
    assert all(row.cure)
    assert any("\u4e00" <= character <= "\u9fff" for character in row.cause[1] + row.cure[1])
    failure = fault(row.slug)
    assert isinstance(failure, Fault)
    assert "{" not in failure.message
    headers, body = openai_errors.render(failure, "id")
    assert b'"request_id":"id"' in body
    assert dict(headers)[b"content-type"] == b"application/json"
    assert openai_errors.render_event(failure, "id").endswith(b"\n\n")
    assert row.log_level == {"caller": "info", "upstream": "warning", "us": "error"}[row.blame]
    if not row.is_retryable and row.status in (409, 429, 502, 503):
        assert (b"x-should-retry", b"false") in headers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_every_row_is_found_by_its_slug_and_texts(row) -> None:
    """Looking up a slug, a message or an alias leads to its row."""
    assert explain(row.slug)[0].row is row
    for alias in row.aliases:
        assert row in [found.row for found in explain(alias)], alias


@pytest.mark.parametrize(("text", "slug"), PUBLIC_TEXTS.items())
def test_public_texts(text: str, slug: str) -> None:
    """The literal texts that users learned."""
    assert explain(text)[0].row.slug == slug


def test_public_table_has_the_thirteen_statuses() -> None:
    """In their order."""
    assert [status for status, _ in PUBLIC_STATUSES] == [
        200,
        400,
        401,
        403,
        404,
        409,
        413,
        415,
        429,
        500,
        502,
        503,
        504,
    ]


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ('{"error":{"message":"Incorrect API key provided. ","code":"invalid_api_key"}}', "api_key_invalid"),
        ('data: {"code":"DataInspectionFailed","message":"x"}', "data_inspection_failed"),
        ("HTTP/1.1 504 Gateway Timeout", "upstream_timeout"),
        ("Error code: 404", "model_not_found"),
        (
            '{"type":"error","error":{"type":"rate_limit_error","message":"You exceeded your current requests list."}}',
            "limit_requests",
        ),
    ],
)
def test_bodies_of_any_dialect(text: str, slug: str) -> None:
    """A pasted body or status line is understood."""
    assert explain(text)[0].row.slug == slug


def test_nonsense_is_not_explained() -> None:
    """Nothing is better than a guess."""
    assert explain("") == []
    assert explain("xyzzy plugh") == []
    assert explain("{") == []
