"""The fake upstream with timestamped deltas. At the end, it prints digests of its answers."""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator

import uvloop

from benchmarks.stamps import deltas
from conversations.server.management.fake_answers import Response, Script, Step
from conversations.server.management.fake_upstream import FakeUpstream, RecordedRequest

WARM_UP = "warm up"
"""The prompt that gets only a few deltas."""


class StampingUpstream(FakeUpstream):
    """Answers each request with `count` stamped deltas, and records a digest of each answer by its prompt."""

    def __init__(self, *, rate: float, count: int, chars: int) -> None:
        super().__init__(rate=rate)
        self._count = count
        self._chars = chars
        self.digests: dict[str, str] = {}

    def response_to(self, request: RecordedRequest) -> Response:
        """Return the answer, whatever the request."""
        return Script(steps=self._steps(request.prompt))

    def _steps(self, prompt: str) -> Iterator[Step]:
        digest = hashlib.sha256()
        count = 50 if prompt == WARM_UP else self._count
        for text in deltas(count=count, chars=self._chars):
            digest.update(text.encode())
            yield text
        self.digests[prompt] = digest.hexdigest()


async def serve(upstream: StampingUpstream) -> None:
    """Serve until standard input ends."""
    async with upstream:
        print(upstream.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(upstream.digests), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--chars", type=int, required=True)
    uvloop.run(serve(StampingUpstream(**vars(parser.parse_args()))))
