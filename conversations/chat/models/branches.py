"""Read branches of a conversation with SQL that is assembled once.

Every turn reads them several times, and Django would spend longer on building these statements than the database on running
them. A test compares the results with those of the ORM.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connection

from conversations.common.statements import Columns

_PATH = """
WITH RECURSIVE path(id, parent_id, steps) AS (
    SELECT id, parent_id, 1 FROM chat_message WHERE id = %s
    UNION ALL
    SELECT m.id, m.parent_id, path.steps + 1
    FROM chat_message m JOIN path ON m.id = path.parent_id
    WHERE path.steps < %s AND path.id <> %s
)
"""
_SENT = frozenset(
    {"parent", "depth", "role", "text", "token_count", "token_vocabulary", "hidden_at", "vetted_text"}
)
"""What a request to a model needs of a message."""
_NONE = 0
"""No message has this ID."""


class Read(NamedTuple):
    """A message as the database holds it now, with the newest generation that wrote it."""

    message: Any
    generation: Any
    """None for a user's message. Its `model` and `message` are set."""
    has_parts: bool


class _Statements:
    """The statements, and the tables whose columns they return."""

    def __init__(self) -> None:
        self.message = Columns(apps.get_model("chat.Message"), alias="m")
        self.sent = Columns(apps.get_model("chat.Message"), alias="m", only=_SENT)
        self.generation = Columns(apps.get_model("chat.Generation"), alias="g")
        self.chat_model = Columns(apps.get_model("catalogue.ChatModel"), alias="c")
        read = f"""
SELECT {self.message.names}, {self.generation.names}, {self.chat_model.names},
    EXISTS (SELECT 1 FROM chat_messagepart p WHERE p.message_id = m.id)
"""
        joins = f"""
LEFT JOIN {self.generation.name} g
    ON g.id = (SELECT MAX(newest.id) FROM {self.generation.name} newest WHERE newest.message_id = m.id)
LEFT JOIN {self.chat_model.name} c ON c.id = g.model_id
"""
        on_path = f"FROM path JOIN {self.message.name} m ON m.id = path.id"
        self.ids = f"{_PATH} SELECT id FROM path"
        self.messages = f"{_PATH} SELECT {self.sent.names} {on_path} ORDER BY m.depth DESC"
        self.branch = f"{_PATH} {read} {on_path} {joins} ORDER BY m.depth"
        self.by_id = f"{read} FROM {self.message.name} m {joins} WHERE m.id IN ({{ids}}) ORDER BY m.depth"


@cache
def _statements() -> _Statements:
    return _Statements()


def branch_ids(tip: int | None, *, limit: int) -> list[int]:
    """Return the IDs of up to `limit` messages of the branch that ends at `tip`, newest first. Takes one query."""
    if tip is None:
        return []
    return [row[0] for row in _rows(_statements().ids, [tip, limit, _NONE])]


def branch_messages(tip: int | None, *, limit: int) -> list[Any]:
    """Return up to `limit` messages of the branch that ends at `tip`, newest first. Takes one query.

    They have only the fields that a request to a model needs.
    """
    if tip is None:
        return []
    statements = _statements()
    return [statements.sent.make(row) for row in _rows(statements.messages, [tip, limit, _NONE])]


def read_branch(tip: int | None, *, limit: int, since: int | None = None) -> list[Read]:
    """Return up to `limit` messages of the branch that ends at `tip`, oldest first. Takes one query.

    With `since`, only this message and those after it, if it is on the branch.
    """
    if tip is None:
        return []
    rows = _rows(_statements().branch, [tip, limit, _NONE if since is None else since])
    return [_read(row) for row in rows]


def read_messages(ids: Sequence[int]) -> list[Read]:
    """Return these messages, sorted by depth. Takes one query."""
    if not ids:
        return []
    placeholders = ", ".join(["%s"] * len(ids))
    return [_read(row) for row in _rows(_statements().by_id.format(ids=placeholders), ids)]


def _rows(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _read(row: tuple[Any, ...]) -> Read:
    statements = _statements()
    first = statements.message.width
    second = first + statements.generation.width
    message = statements.message.make(row[:first])
    generation = None
    if row[first] is not None:
        generation = statements.generation.make(row[first:second])
        generation.message = message
        generation.model = statements.chat_model.make(row[second:-1])
    return Read(message, generation, bool(row[-1]))
