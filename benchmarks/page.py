"""Compare the page of a long conversation with those of shorter ones: CPU time, size and queries.

    python benchmarks/page.py

Runs the middleware, the view, the queries and the templates in one process, without a network, alternating between the
pages. The last line of output is a JSON object with the figures and goals. README.md explains them.
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import site  # noqa: E402  (works from any folder)
from benchmarks.report import Goal, judge, rounded, show  # noqa: E402
from benchmarks.stamps import deltas  # noqa: E402

GOALS = [
    Goal("ratio_to_10", 1.5),
    Goal("ratio_to_40", 1.1),
    Goal("more_queries", 0),
]
SHORTER = (40, 10)
"""The lengths of the other conversations, in messages. A page shows 40 messages when it loads."""


def write_conversation(*, messages: int, chars: int) -> str:
    """Create a conversation with this number of messages for the only user, and return the path of its page."""
    from django.utils import timezone

    from conversations.accounts.models import User
    from conversations.catalogue.models import ChatModel
    from conversations.chat.models import Conversation, Generation, Message

    now = timezone.now()
    owner = User.objects.get()
    model = ChatModel.objects.order_by("-is_default")[0]
    conversation = Conversation.objects.create(
        owner=owner, title=f"{messages} messages", created_at=now, last_activity_at=now
    )
    head = None
    for depth in range(messages):
        is_question = depth % 2 == 0
        head = Message.objects.create(
            conversation=conversation,
            parent=head,
            depth=depth,
            role=Message.Role.USER if is_question else Message.Role.ASSISTANT,
            author=owner if is_question else None,
            client_id=uuid.uuid4() if is_question else None,
            text=f"Question {depth}?" if is_question else "".join(deltas(count=chars // 10, chars=5)),
            created_at=now,
        )
        if not is_question:
            Generation.objects.create(
                conversation=conversation,
                message=head,
                model=model,
                client_id=uuid.uuid4(),
                max_tokens=1,
                status=Generation.Status.COMPLETE,
                prompt_tokens=1,
                completion_tokens=1,
                created_at=now,
                ended_at=now,
            )
    conversation.head = head
    conversation.save()
    return f"/c/{conversation.uuid}/"


def load(client: Any, path: str, *, is_cold: bool) -> float:
    """Return how many milliseconds of CPU a page takes. If cold, its Markdown is rendered again."""
    from conversations.common.rendering import markdown

    if is_cold:
        markdown._rendered.clear()
    begun = time.process_time()
    response = client.get(path)
    took = (time.process_time() - begun) * 1000
    if response.status_code != 200:
        raise RuntimeError(f"The page returned {response.status_code}.")
    return took


def look_at(client: Any, path: str) -> tuple[int, int]:
    """Return the number of queries and the size of a page, in bytes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        response = client.get(path)
    return len(queries), len(response.content)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Load the pages alternately, and return medians, queries and sizes."""
    [cookie] = site.prepare(folder, people=1, with_static_files=True)

    from django.test import Client

    from conversations.catalogue.services import sync_catalogue

    sync_catalogue()
    client = Client(SERVER_NAME="localhost", HTTP_COOKIE=cookie)
    lengths = (options.messages, *SHORTER)
    pages = {length: write_conversation(messages=length, chars=options.chars) for length in lengths}
    figures: dict[str, float] = {}
    for kind, is_cold in (("", False), ("cold_", True)):
        times: dict[int, list[float]] = {length: [] for length in lengths}
        for number in range(options.rounds + 1):
            for length, path in pages.items():
                took = load(client, path, is_cold=is_cold)
                # The first load only warms up the templates.
                if number:
                    times[length].append(took)
        medians = {length: statistics.median(taken) for length, taken in times.items()}
        figures[f"{kind}cpu_ms"] = medians[options.messages]
        for length in SHORTER:
            figures[f"{kind}cpu_ms_of_{length}"] = medians[length]
            figures[f"{kind}ratio_to_{length}"] = medians[options.messages] / medians[length]
    queries, size = look_at(client, pages[options.messages])
    queries_of_10, size_of_10 = look_at(client, pages[10])
    figures |= {
        "queries": queries,
        "more_queries": queries - queries_of_10,
        "kb": size / 1024,
        "kb_of_10": size_of_10 / 1024,
    }
    return rounded(figures)


def main() -> int:
    """Read the options, measure, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--messages", type=int, default=1000, help="messages in the long conversation (default 1000)"
    )
    parser.add_argument(
        "--chars", type=int, default=500, help="approximate characters per answer (default 500)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="loads of each page (default 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder, site.scratch_database():
        figures = measure(options, Path(folder))
    show(options, figures, judge(figures, GOALS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
