"""Prepare snapshots and full conversations for display to staff. Reading a full conversation requires a reason."""

import datetime as dt
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from conversations.accounts.models import User
from conversations.chat.generation import transcript
from conversations.chat.models import Conversation, Generation, Message, branches
from conversations.common.refusals import Refused
from conversations.common.rendering import highlighting
from conversations.common.rendering.markdown import render_markdown
from conversations.review.models import Report, ReviewCase
from conversations.review.services import reviewing

from .case_forms import ReadForm

EXCERPT_LENGTH = 120
MAX_MESSAGES = 1_000
"""The number of messages to show of a full conversation, counted from the newest."""

# Markdown syntax to strip from excerpts.
_MARKS = re.compile(r"[#*`|\[]+|\]\([^)\s]*\)|^[-=]{3,}|(?<=\n)[-=>]+(?=\s)")
_CASE_NUMBER = re.compile(r"#?([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as evidence. Answers are rendered as sanitised HTML; messages from users stay plain text."""

    is_user: bool
    text: str
    html: SafeString | None
    at: dt.datetime | None
    number: int = 0
    is_reported: bool = False
    was_hidden: bool = False
    vetted_html: SafeString | None = None
    reasoning: str = ""
    is_elsewhere: bool = False
    """Whether the message is on another branch than the current one."""


def excerpt_of(content: dict[str, Any], *, comment: str = "") -> str:
    """Return the beginning of the reported answer or, for a report about the application, its page and comment."""
    if content.get("kind") == "application":
        text = f"{content.get('page', '')}: {comment}"
    else:
        text = next((m["text"] for m in content.get("messages", []) if m["is_reported"]), "")
    text = " ".join(_MARKS.sub("", text[: 3 * EXCERPT_LENGTH]).split())
    return text if len(text) <= EXCERPT_LENGTH else text[: EXCERPT_LENGTH - 1] + "…"


def search_by_id(cases: QuerySet[Any], typed: str) -> QuerySet[Any]:
    """Filter cases by case number, reference number, pseudonym or public ID. Never searches texts."""
    typed = typed.strip()
    if not typed:
        return cases
    number = _CASE_NUMBER.fullmatch(typed)
    if number:
        return cases.filter(pk=int(number[1]))
    reports: QuerySet[Report]
    try:
        public_id = uuid.UUID(typed)
    except ValueError:
        reports = Report.objects.filter(Q(reference=typed.upper()) | Q(pseudonym=typed.upper()))
        return cases.filter(pk__in=reports.values("case"))
    reports = Report.objects.filter(uuid=public_id)
    return cases.filter(Q(uuid=public_id) | Q(message__uuid=public_id) | Q(pk__in=reports.values("case")))


def messages_of(content: dict[str, Any]) -> list[MessageView]:
    """Return the messages of a snapshot, numbered by their position in the branch."""
    numbers = {public_id: position for position, public_id in enumerate(content.get("branch", []), start=1)}
    length = len(numbers)
    views = []
    for message in content.get("messages", []):
        # `branch` ends with the reported answer, so later messages are numbered onwards from there.
        number = numbers.get(message["uuid"]) or (length := length + 1)
        views.append(
            MessageView(
                is_user=message["role"] == Message.Role.USER,
                text=message["text"],
                html=render_markdown(message["text"]) if message["role"] != Message.Role.USER else None,
                at=time_of(message.get("at")),
                number=number,
                is_reported=bool(message["is_reported"]),
                was_hidden=bool(message.get("was_hidden")),
                reasoning=message.get("reasoning", ""),
            )
        )
    return views


def time_of(written: Any) -> dt.datetime | None:
    """Parse a time from a snapshot, which is in ISO 8601."""
    return parse_datetime(written) if isinstance(written, str) else None


def facts_of(content: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return a snapshot's details of the generation and the site, as pairs of name and value."""
    generation = content.get("generation") or {}
    parameters = generation.get("parameters") or {}
    tokens = f"{generation.get('prompt_tokens')} + {generation.get('completion_tokens')}"
    if generation.get("usage_is_estimated"):
        tokens += f" ({_('estimated')})"
    facts: list[tuple[str, Any]] = [
        (_("Model"), " · ".join(filter(None, (generation.get("model"), generation.get("upstream_name"))))),
        (_("Parameters"), ", ".join(f"{name} = {value}" for name, value in sorted(parameters.items()))),
        (_("Ended"), " · ".join(filter(None, (generation.get("status"), generation.get("finish_reason"))))),
        (_("Error"), generation.get("error_code")),
        (_("Tokens, prompt + answer"), tokens if generation.get("completion_tokens") is not None else ""),
        (_("Maximum answer length (tokens)"), generation.get("max_tokens")),
        (_("Trimmed messages"), generation.get("trimmed_messages")),
        (_("Page"), content.get("page")),
        (_("Site version"), content.get("app_version")),
    ]
    return [(name, value) for name, value in facts if value]


# --- Whole conversations ---


def read_conversation(request: HttpRequest, public_id: uuid.UUID, *, site: AdminSite) -> HttpResponse:
    """Ask for a reason. Once it is given, log it and show the full conversation."""
    staff = request.user
    assert isinstance(staff, User)
    reviewing.require(staff, "read_conversation")
    # A case about another conversation gives no access to this one.
    get_object_or_404(Conversation, uuid=public_id)
    given = request.POST if request.method == "POST" else request.GET
    form = ReadForm(given) if request.method == "POST" else ReadForm(initial={"case": given.get("case")})
    context = {
        **site.each_context(request),
        "title": _("Full conversation"),
        "public_id": public_id,
        "form": form,
        "case": _case_of(public_id, given.get("case")),
    }
    status = 200
    if request.method == "POST":
        if given.get("case") and context["case"] is None:
            raise PermissionDenied
        status = 422
        if form.is_valid():
            try:
                found = reviewing.open_conversation(
                    staff=staff,
                    conversation=public_id,
                    reason=form.cleaned_data["reason"],
                    case=form.cleaned_data["case"],
                    now=timezone.now(),
                )
            except Refused as error:
                form.add_error("reason", str(error))
            else:
                context["conversation"], status = found, 200
                context["transcript"], context["left_out"] = _whole(found, context["case"])
    return render(request, "admin/review/reviewcase/conversation.html", context, status=status)


def _case_of(public_id: uuid.UUID, case: str | None) -> ReviewCase | None:
    """Return the case with this public ID if it is about this conversation."""
    try:
        wanted = uuid.UUID(case or "")
    except ValueError:
        return None
    return ReviewCase.objects.filter(uuid=wanted, message__conversation__uuid=public_id).first()


@highlighting.shared_wait()
def _whole(conversation: Conversation, case: ReviewCase | None) -> tuple[list[MessageView], int]:
    """Return the newest messages of all branches in chronological order, and the number of older ones left out."""
    messages = list(
        Message.objects.filter(conversation=conversation)
        .prefetch_related("parts")
        .order_by("-created_at", "-pk")[: MAX_MESSAGES + 1]
    )
    count = Message.objects.filter(conversation=conversation).count()
    messages = messages[:MAX_MESSAGES][::-1]
    in_view = set(branches.branch_ids(conversation.head_id, limit=count))
    active = Generation.objects.active().filter(conversation=conversation).values_list("message_id", "pk")
    by_message = dict(active)
    written = transcript.read_journal(list(by_message.values()))
    nothing = transcript.Written()
    news = {message.pk: written.get(by_message.get(message.pk, 0), nothing) for message in messages}
    left_out = count - len(messages)
    return _views(messages, news=news, in_view=in_view, case=case, left_out=left_out), left_out


def _views(
    messages: Sequence[Message],
    *,
    news: dict[int, transcript.Written],
    in_view: set[int],
    case: ReviewCase | None,
    left_out: int,
) -> list[MessageView]:
    return [
        MessageView(
            is_user=message.role == Message.Role.USER,
            text=message.text + news[message.pk].text,
            html=None
            if message.role == Message.Role.USER
            else render_markdown(message.text + news[message.pk].text),
            at=message.created_at,
            number=left_out + position,
            is_reported=case is not None and case.message_id == message.pk,
            was_hidden=message.is_hidden,
            vetted_html=render_markdown(message.vetted_text) if message.vetted_text else None,
            is_elsewhere=message.pk not in in_view,
            reasoning=message.reasoning + news[message.pk].reasoning,
        )
        for position, message in enumerate(messages, start=1)
    ]
