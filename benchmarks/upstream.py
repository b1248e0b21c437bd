"""The upstream of a run: the fake one, with deltas that say when they were sent. At the end it says what it sent."""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator

import uvloop

from benchmarks.stamps import deltas
from conversations.management.fake_answers import Response, Script, Step
from conversations.management.fake_upstream import FakeUpstream, RecordedRequest

WARM_UP = "warm up"
"""The prompt that is answered with a few deltas only."""


class StampingUpstream(FakeUpstream):
    """Answers every request with so many stamped deltas, and remembers a digest of each answer by its prompt."""

    def __init__(self, *, rate: float, count: int, chars: int) -> None:
        super().__init__(rate=rate)
        self._count = count
        self._chars = chars
        self.digests: dict[str, str] = {}

    def response_to(self, request: RecordedRequest) -> Response:
        """Play the answer, whatever is asked."""
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
