"""Streamed file downloads."""

import itertools
from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

_LINES_AT_ONCE = 200


def download(
    request: HttpRequest, lines: Iterable[bytes], *, filename: str, content_type: str
) -> StreamingHttpResponse:
    """Return a response that streams these lines as a file, generating them while it is sent."""
    pieces = _pieces(lines)
    # On ASGI, Django would first collect a synchronous iterator as a whole.
    response = StreamingHttpResponse(
        _in_turn(pieces) if isinstance(request, ASGIRequest) else pieces, content_type=content_type
    )
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    following = iter(lines)
    while piece := b"".join(itertools.islice(following, _LINES_AT_ONCE)):
        yield piece


async def _in_turn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes | None:
        return next(pieces, None)

    while (piece := await sync_to_async(following)()) is not None:
        yield piece
