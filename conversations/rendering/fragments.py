"""Every HTML fragment of the chat: what a page is made of when it loads, and what leaves over the socket while it lives.

Both come from the same templates and the same Markdown, so that a page that watched an answer and a page that was loaded
afterwards hold the same elements. A frame is a row of `<hx-partial>` elements, each with its target and its way to swap.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from conversations.generation.transcript import Entry
from conversations.models import Conversation, Generation, Message
from conversations.operations.access import Use
from conversations.operations.turns import can_continue

from .markdown import MarkdownStream, render_markdown

# Only the message that is being written has an element .open, and its finished blocks stand right before it.
_DONE = ".done:has(+.open)"
_OPEN = ".open"


def partial(target: str, swap: str, html: str) -> str:
    """Return one element of a frame: `html` goes to the element `target` by htmx's way to swap."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


@dataclass(frozen=True, slots=True)
class Note:
    """What the template says of the generation that wrote a message."""

    uuid: uuid.UUID
    status: str
    is_active: bool
    finish_reason: str
    max_tokens: int
    error_message: str
    retry_after_seconds: int | None
    trimmed_messages: int
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_estimated: bool
    can_continue: bool


def note_of(generation: Generation) -> Note:
    """Return what is shown of a generation."""
    wait = None
    if generation.retry_at is not None:
        wait = max(0, round((generation.retry_at - timezone.now()).total_seconds())) or None
    return Note(
        uuid=generation.uuid,
        status=generation.status,
        is_active=generation.is_active,
        finish_reason=generation.finish_reason,
        max_tokens=generation.max_tokens,
        error_message=str(generation.get_error_code_display()) if generation.error_code else "",
        retry_after_seconds=wait,
        trimmed_messages=generation.trimmed_messages,
        model=generation.model.label,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        usage_estimated=generation.usage_is_estimated,
        can_continue=can_continue(generation),
    )


class AnswerWriter:
    """Turns the text of one answer, as it grows, into HTML: once for a whole message, then frame by frame."""

    def __init__(self, entry: Entry, *, offset: int = 0) -> None:
        self._entry = entry
        self._stream = MarkdownStream(offset=offset)
        self._cursor = offset
        self._has_seen_start = offset == 0

    def context(self) -> dict[str, Any]:
        """Return what the message's template needs, with all of the entry's text written."""
        update = self._stream.feed(self._entry.text)
        self._cursor = update.offset
        # Both come from the sanitiser.
        done, still_open = mark_safe(update.finished), mark_safe(update.open)  # noqa: S308
        return {**_context(self._entry), "done_html": done, "open_html": still_open}

    def cursor_html(self) -> SafeString:
        """Return the hidden fields with which a page tells where it stands."""
        return cursor_html(self._entry, offset=self._cursor)

    def grow(self, text: str) -> str:
        """Return the frame for text that came."""
        update = self._stream.feed(text)
        if update.finished:
            self._cursor = update.offset
            return (
                partial(_DONE, "beforeend", update.finished)
                + partial(_OPEN, "innerHTML", update.open)
                + partial("#cursor>[name=offset]", "outerHTML", _hidden("offset", self._cursor))
            )
        if update.append is not None:
            depth, html = update.append
            return partial(_OPEN + ">:last-child" * depth, "beforeend", html)
        return partial(_OPEN, "innerHTML", update.open)

    def end(self, entry: Entry) -> str:
        """Return the frame for the end of the answer: the last blocks, its notes, and what may be done now."""
        update = self._stream.finish()
        if self._stream.has_references or not self._has_seen_start:
            # A link may have been used before the line that says where it leads.
            blocks = partial(_DONE, "innerHTML", render_markdown(entry.text))
        else:
            blocks = partial(_DONE, "beforeend", update.finished) if update.finished else ""
        note = note_of(entry.generation) if entry.generation else None
        status = render_to_string("conversations/_status.html", _context(entry))
        return (
            blocks
            + partial(_OPEN, "delete", "")
            + partial(f"#s-{entry.message.uuid}", "outerHTML", status)
            + partial("#cursor", "innerHTML", cursor_html(entry, offset=len(entry.text)))
            + announce(_ended(note))
        )


def _ended(note: Note | None) -> str:
    if note is None or note.status == Generation.Status.COMPLETE:
        return _("The answer is complete.")
    if note.status == Generation.Status.STOPPED:
        return _("The answer was stopped.")
    if note.status == Generation.Status.FAILED:
        return _("The answer failed: %(reason)s") % {"reason": note.error_message}
    return _("The answer was interrupted.")


def _context(entry: Entry) -> dict[str, Any]:
    return {"message": entry.message, "generation": note_of(entry.generation) if entry.generation else None}


def entry_context(entry: Entry) -> tuple[dict[str, Any], AnswerWriter | None]:
    """Return what the message's template needs, and the writer that goes on with it where text may still come."""
    if entry.is_open:
        writer = AnswerWriter(entry)
        return writer.context(), writer
    done = render_markdown(entry.text) if entry.message.role == Message.Role.ASSISTANT else ""
    return {**_context(entry), "done_html": done, "open_html": None}, None


def cursor_html(entry: Entry | None, *, offset: int = 0) -> SafeString:
    """Return the hidden fields of the attach form that say: this message, of this generation, up to here, still open."""
    if entry is None:
        return SafeString("")
    generation = entry.generation.uuid if entry.generation else ""
    return format_html(
        "{}{}{}{}",
        _hidden("message", entry.message.uuid),
        _hidden("generation", generation),
        _hidden("offset", offset),
        _hidden("open", "1" if entry.is_open else ""),
    )


def _hidden(name: str, value: object) -> SafeString:
    # As text, since a number would be written with separators.
    return format_html('<input type="hidden" name="{}" value="{}">', name, str(value))


def stop_target_html(entry: Entry) -> SafeString:
    """Return the hidden field of the stop form."""
    return _hidden("message", entry.message.uuid)


def added(entries: Sequence[Entry]) -> tuple[str, AnswerWriter | None]:
    """Return the frame that adds messages at the end of the thread, and the writer of the last if it is open."""
    html, writer = "", None
    for entry in entries:
        context, writer = entry_context(entry)
        html += render_to_string("conversations/_message.html", context)
    return partial("#thread", "beforeend", html) + _stand_at(entries[-1], writer), writer


def replaced(entry: Entry) -> tuple[str, AnswerWriter | None]:
    """Return the frame that shows a message anew, and its writer if it is open."""
    context, writer = entry_context(entry)
    html = render_to_string("conversations/_message.html", context)
    return partial(f"#m-{entry.message.uuid}", "outerHTML", html) + _stand_at(entry, writer), writer


def moderated(entries: Sequence[Entry], *, revision: int) -> str:
    """Return the frame that shows anew what staff hid, replaced or showed again."""
    messages = "".join(
        partial(
            f"#m-{entry.message.uuid}",
            "outerHTML",
            render_to_string("conversations/_message.html", entry_context(entry)[0]),
        )
        for entry in entries
    )
    said = announce(_("Staff changed what is shown of this conversation.")) if entries else ""
    return messages + partial("#revision", "outerHTML", revision_html(revision)) + said


def revision_html(revision: int) -> SafeString:
    """Return the hidden field of the attach form that says which changes by staff the page shows."""
    # As text, since a number would be written with separators.
    return format_html('<input type="hidden" name="revision" id="revision" value="{}">', str(revision))


def _stand_at(entry: Entry, writer: AnswerWriter | None) -> str:
    """Return the part of a frame that says where the page now stands, to itself and to a screen reader."""
    if writer is not None:
        return (
            partial("#cursor", "innerHTML", writer.cursor_html())
            + partial("#stop-target", "innerHTML", stop_target_html(entry))
            + announce(_("The answer is being written."))
        )
    said = announce(_ended(note_of(entry.generation))) if entry.generation else ""
    return partial("#cursor", "innerHTML", cursor_html(entry, offset=len(entry.text))) + said


def conversation_begun(conversation: Conversation, *, conversations: Sequence[Conversation]) -> str:
    """Return the frame that turns the page of a new chat into the page of this conversation."""
    items = render_to_string(
        "conversations/_conversation_list.html",
        {"conversations": conversations, "conversation": conversation},
    )
    url, title = escape(f"/c/{conversation.uuid}/"), escape(conversation.title)
    field = '<input type="hidden" name="conversation" id="{}" value="{}">'
    return (
        partial("#conversation-list", "innerHTML", items)
        + partial(
            "#composer-conversation", "outerHTML", field.format("composer-conversation", conversation.uuid)
        )
        + partial("#attach-conversation", "outerHTML", field.format("attach-conversation", conversation.uuid))
        + partial("#location", "innerHTML", f'<span data-url="{url}" data-title="{title}"></span>')
    )


def refusal(reason: str, *, client_id: object = "") -> str:
    """Return the frame that says beside the composer why a message was not taken."""
    return partial(
        "#composer-error", "innerHTML", f'<span data-client-id="{escape(client_id)}">{escape(reason)}</span>'
    )


def use_banner(use: Use, *, is_guest: bool, signup: str) -> str:
    """Return the frame that says which preview this is and what is left of it."""
    context = {"use": use, "is_guest": is_guest, "signup": signup}
    return partial("#use", "outerHTML", render_to_string("conversations/_use.html", context))


def announce(text: str) -> str:
    """Return the part of a frame that a screen reader says when it has time."""
    return partial("#announce", "innerHTML", escape(text))


def gone() -> str:
    """Return the frame for a conversation that was deleted while it was in view."""
    return refusal(_("This conversation was deleted. Begin a new one."))
