"""Tests that upstream errors get the right code and that none of their text is kept."""

import orjson
import pytest

from conversations.llm.errors import UpstreamErrorCode, error_of_response

CODES = UpstreamErrorCode


def error(**fields: object) -> bytes:
    return orjson.dumps({"error": {"message": "SECRET", **fields}})


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (400, error(type="invalid_request_error"), CODES.BAD_REQUEST, False),
        (400, error(code="context_length_exceeded"), CODES.CONTEXT_LENGTH, False),
        (400, error(type="exceed_context_size_error", code=400), CODES.CONTEXT_LENGTH, False),
        (400, error(message="This model's maximum context length is 8192"), CODES.CONTEXT_LENGTH, False),
        (400, error(code="content_filter"), CODES.CONTENT_FILTER, False),
        (
            400,
            error(code="x", innererror={"code": "ResponsibleAIPolicyViolation"}),
            CODES.CONTENT_FILTER,
            False,
        ),
        (401, error(code="invalid_api_key"), CODES.UNAUTHORIZED, False),
        (401, b"<html>SECRET", CODES.UNAUTHORIZED, False),
        (402, b"", CODES.QUOTA, False),
        (403, b"SECRET", CODES.UNAUTHORIZED, False),
        (404, error(code="model_not_found"), CODES.NOT_FOUND, False),
        (404, b'{"detail": "SECRET"}', CODES.NOT_FOUND, False),
        (405, b"", CODES.BAD_REQUEST, False),
        (408, b"", CODES.TIMEOUT, True),
        (409, b"", CODES.SERVER_ERROR, True),
        (413, b"", CODES.CONTEXT_LENGTH, False),
        (422, b'{"detail": [{"msg": "SECRET"}]}', CODES.BAD_REQUEST, False),
        (429, error(code="rate_limit_exceeded"), CODES.RATE_LIMITED, True),
        (429, error(type="insufficient_quota", code="insufficient_quota"), CODES.QUOTA, False),
        (429, b"slow down", CODES.RATE_LIMITED, True),
        (500, error(type="server_error"), CODES.SERVER_ERROR, True),
        (503, b"null", CODES.SERVER_ERROR, True),
        (529, b'"SECRET"', CODES.SERVER_ERROR, True),
        (302, b"", CODES.PROTOCOL, False),
    ],
)
def test_code(status: int, body: bytes, code: UpstreamErrorCode, retryable: bool):
    found = error_of_response(status=status, body=body, retry_after=None)
    assert (found.code, found.status, found.retryable) == (code, status, retryable)
    assert "SECRET" not in f"{found} {found!r} {found.args} {vars(found)}"
