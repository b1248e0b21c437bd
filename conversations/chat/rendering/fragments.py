"""The HTML fragments of the chat, for both the initial page and updates over the socket.

Both use the same templates and Markdown renderer, so a page that followed an answer and a page loaded afterwards hold
the same elements. A frame is a sequence of `<hx-partial>` elements, each with its target and swap style.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from conversations.access.rules import Verdict
from conversations.chat.generation.transcript import Entry
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.rules import can_continue, seconds_until_retry
from conversations.common.rendering.markdown import MarkdownStream, is_quick, render_markdown

# Only the message being written has an element .open, directly after its finished blocks.
_DONE = ".done:has(+.open)"
_OPEN = ".open"


def partial(target: str, swap: str, html: str) -> str:
    """Return one element of a frame, which places `html` at `target` using htmx's swap style `swap`."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


@dataclass(frozen=True, slots=True)
class Note:
    """What the template shows of the generation that wrote a message."""

    uuid: uuid.UUID
    status: str
    is_active: bool
    finish_reason: str
    max_tokens: int
    error_message: str
    retry_after_seconds: int
    trimmed_messages: int
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    usage_estimated: bool
    can_continue: bool


def note_of(generation: Generation) -> Note:
    """Return what the page shows of a generation."""
    return Note(
        uuid=generation.uuid,
        status=generation.status,
        is_active=generation.is_active,
        finish_reason=generation.finish_reason,
        max_tokens=generation.max_tokens,
        error_message=str(generation.get_error_code_display()) if generation.error_code else "",
        retry_after_seconds=seconds_until_retry(generation, now=timezone.now()),
        trimmed_messages=generation.trimmed_messages,
        model=generation.model.label,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        reasoning_tokens=generation.reasoning_tokens,
        usage_estimated=generation.usage_is_estimated,
        can_continue=can_continue(generation),
    )


class AnswerWriter:
    """Renders an answer as HTML while it grows: first the whole message, then one frame at a time."""

    def __init__(self, entry: Entry, *, offset: int = 0) -> None:
        self._entry = entry
        self._stream = MarkdownStream(offset=offset)
        self._cursor = offset
        self._has_seen_start = offset == 0
        self._is_reasoning = entry.is_reasoning
        self._reasoning_ms = entry.reasoning_ms

    def context(self) -> dict[str, Any]:
        """Return the context of the message's template, with all of the entry's text rendered."""
        update = self._stream.feed(self._entry.text)
        self._cursor = update.offset
        # Both come from the sanitiser.
        done, still_open = mark_safe(update.finished), mark_safe(update.change.html)  # noqa: S308
        return {**_context(self._entry), "done_html": done, "open_html": still_open}

    def cursor_html(self) -> SafeString:
        """Return the hidden fields in which the page keeps its position."""
        return cursor_html(self._entry, offset=self._cursor)

    def is_quick(self, text: str) -> bool:
        """Return whether `grow` renders this text in less than 50 ms and without waiting."""
        return self._stream.is_quick(text)

    def is_quick_to_end(self, entry: Entry) -> bool:
        """Return whether `end` renders its frame in less than 50 ms and without waiting."""
        return is_quick(entry.text) if self._rerenders_at_end else self._stream.is_quick_to_finish()

    @property
    def _rerenders_at_end(self) -> bool:
        # A reference link may be used before the line that defines its address.
        return self._stream.has_references or not self._has_seen_start

    def resume(self) -> str:
        """Return the frame for a page that reconnects. It has all of the reasoning, as the page doesn't report any."""
        if not self._entry.reasoning:
            return ""
        text = partial(self._reasoning("text"), "innerHTML", escape(self._entry.reasoning))
        return text + self._reasoning_summary()

    def reason(self, text: str, *, so_far_ms: int) -> str:
        """Return the frame for new reasoning."""
        self._reasoning_ms = so_far_ms
        summary = ""
        if not self._is_reasoning:
            self._is_reasoning = True
            summary = self._reasoning_summary()
        return partial(self._reasoning("text"), "beforeend", escape(text)) + summary

    def grow(self, text: str) -> str:
        """Return the frame for new text, or an empty string if nothing changes yet."""
        return self._end_reasoning() + self._grow(text)

    def _reasoning(self, part: str) -> str:
        return f"#t-{self._entry.message.uuid}>.reasoning__{part}"

    def _reasoning_summary(self) -> str:
        summary = reasoning_summary(self._reasoning_ms, is_open=self._is_reasoning)
        return partial(self._reasoning("summary"), "innerHTML", escape(summary))

    def _end_reasoning(self) -> str:
        if not self._is_reasoning:
            return ""
        self._is_reasoning = False
        return self._reasoning_summary()

    def _grow(self, text: str) -> str:
        update = self._stream.feed(text)
        if update.finished:
            self._cursor = update.offset
            return (
                partial(_DONE, "beforeend", update.finished)
                + partial(_OPEN, "innerHTML", update.change.html)
                + partial("#cursor>[name=offset]", "outerHTML", _hidden("offset", self._cursor))
            )
        change = update.change
        if change.is_addition:
            return change.html and partial(_OPEN + ">:last-child" * change.depth, "beforeend", change.html)
        return partial(_OPEN + ">:last-child" * change.depth, "innerHTML", change.html)

    def end(self, entry: Entry) -> str:
        """Return the frame that ends the answer: the last blocks, the notes, and the available actions."""
        update = self._stream.finish()
        if self._rerenders_at_end:
            blocks = partial(_DONE, "innerHTML", render_markdown(entry.text))
        else:
            blocks = partial(_DONE, "beforeend", update.finished) if update.finished else ""
        note = note_of(entry.generation) if entry.generation else None
        status = render_to_string("chat/_status.html", _context(entry))
        return (
            self._end_reasoning()
            + blocks
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
    return {
        "message": entry.message,
        "generation": note_of(entry.generation) if entry.generation else None,
        "reasoning": entry.reasoning,
        "reasoning_summary": reasoning_summary(
            entry.reasoning_ms, is_open=entry.is_open and entry.is_reasoning
        ),
    }


def reasoning_summary(so_far_ms: int, *, is_open: bool) -> str:
    """Return the line above the reasoning: that the model is thinking, or how long it thought."""
    if is_open:
        return _("Thinking…")
    seconds = max(1, round(so_far_ms / 1000))
    return ngettext("Thought for %(seconds)s second", "Thought for %(seconds)s seconds", seconds) % {
        "seconds": number_format(seconds)
    }


def entry_context(entry: Entry) -> tuple[dict[str, Any], AnswerWriter | None]:
    """Return the context of the message's template, and a writer for further text if the message is open."""
    if entry.is_open:
        writer = AnswerWriter(entry)
        return writer.context(), writer
    done = render_markdown(entry.text) if entry.message.role == Message.Role.ASSISTANT else ""
    return {**_context(entry), "done_html": done, "open_html": None}, None


def cursor_html(entry: Entry | None, *, offset: int = 0) -> SafeString:
    """Return the hidden fields of the attach form: message, generation, offset, and whether the message is open."""
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
    # As a string, because a number would be formatted with separators.
    return format_html('<input type="hidden" name="{}" value="{}">', name, str(value))


def stop_target_html(entry: Entry) -> SafeString:
    """Return the hidden field of the stop form."""
    return _hidden("message", entry.message.uuid)


def added(entries: Sequence[Entry]) -> tuple[str, AnswerWriter | None]:
    """Return the frame that appends messages to the thread, and a writer for the last message if it is open."""
    html, writer = "", None
    for entry in entries:
        context, writer = entry_context(entry)
        html += render_to_string("chat/_message.html", context)
    return partial("#thread", "beforeend", html) + _set_position(entries[-1], writer), writer


def replaced(entry: Entry) -> tuple[str, AnswerWriter | None]:
    """Return the frame that redraws a message, and a writer for it if it is open."""
    context, writer = entry_context(entry)
    html = render_to_string("chat/_message.html", context)
    return partial(f"#m-{entry.message.uuid}", "outerHTML", html) + _set_position(entry, writer), writer


def staff_edited(entries: Sequence[Entry], *, revision: int) -> str:
    """Return the frame that redraws the messages that staff hid, replaced or restored."""
    messages = "".join(
        partial(
            f"#m-{entry.message.uuid}",
            "outerHTML",
            render_to_string("chat/_message.html", entry_context(entry)[0]),
        )
        for entry in entries
    )
    said = announce(_("Staff changed what is shown in this conversation.")) if entries else ""
    return messages + partial("#revision", "outerHTML", revision_html(revision)) + said


def revision_html(revision: int) -> SafeString:
    """Return the hidden field of the attach form that says up to which revision the page shows staff edits."""
    # As a string, because a number would be formatted with separators.
    return format_html('<input type="hidden" name="revision" id="revision" value="{}">', str(revision))


def _set_position(entry: Entry, writer: AnswerWriter | None) -> str:
    """Return the part of a frame that sets the page's position and announces it to screen readers."""
    if writer is not None:
        return (
            partial("#cursor", "innerHTML", writer.cursor_html())
            + partial("#stop-target", "innerHTML", stop_target_html(entry))
            + announce(_("The answer is being written."))
        )
    said = announce(_ended(note_of(entry.generation))) if entry.generation else ""
    return partial("#cursor", "innerHTML", cursor_html(entry, offset=len(entry.text))) + said


def conversation_started(conversation: Conversation) -> str:
    """Return the frame that turns a new chat's page into the page of this conversation."""
    item = render_to_string(
        "chat/_conversation_item.html", {"item": conversation, "conversation": conversation}
    )
    field = '<input type="hidden" name="conversation" id="{}" value="{}">'
    return (
        partial("#conversation-list", "afterbegin", item)
        + partial(
            "#composer-conversation", "outerHTML", field.format("composer-conversation", conversation.uuid)
        )
        + partial("#attach-conversation", "outerHTML", field.format("attach-conversation", conversation.uuid))
        + location(conversation)
    )


def conversation_list(conversations: Iterable[Conversation], *, shown: uuid.UUID | None) -> str:
    """Return the frame of the list of conversations, for a page that shows the conversation with this public id."""
    items = render_to_string(
        "chat/_conversation_list.html", {"conversations": conversations, "conversation": {"uuid": shown}}
    )
    return partial("#conversation-list", "innerHTML", items)


def location(conversation: Conversation) -> str:
    """Return the frame that gives the page the address and the title of this conversation."""
    url, title = escape(f"/c/{conversation.uuid}/"), escape(conversation.title)
    return partial("#location", "innerHTML", f'<span data-url="{url}" data-title="{title}"></span>')


def refusal(reason: str, *, client_id: object = "") -> str:
    """Return the frame that says next to the composer why a message was refused."""
    return partial(
        "#composer-error", "innerHTML", f'<span data-client-id="{escape(client_id)}">{escape(reason)}</span>'
    )


def access_banner(use: Verdict, *, is_guest: bool, signup: str, conversation: Conversation) -> str:
    """Return the frame of the banner that names the preview and says what is left of its allowance.

    From there, guests can sign up or sign in and return to the conversation.
    """
    context = {"use": use, "is_guest": is_guest, "signup": signup, "conversation": conversation}
    return partial("#use", "outerHTML", render_to_string("access/_use.html", context))


def announce(text: str) -> str:
    """Return the part of a frame that screen readers announce politely."""
    return partial("#announce", "innerHTML", escape(text))


def gone() -> str:
    """Return the frame for a conversation that was deleted while it was open."""
    return refusal(_("This conversation was deleted. Start a new one."))
