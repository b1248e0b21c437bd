"""The pages of the chat."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from conversations.forms import ContinueForm, RenameForm, SendForm, StopForm, first_error
from conversations.generation.transcript import Entry, read_branch
from conversations.models import AccountNotice, Conversation, Message, User
from conversations.operations import access, catalogue, conversations, turns
from conversations.rendering import fragments

PAGE_LENGTH = 40
"""How many messages a page shows at once; the earlier ones are a click away."""
SIDEBAR_LENGTH = 200
MAX_EXPORTED = 10_000


class UserRequest(HttpRequest):
    """A request that has passed the login."""

    user: User


@require_GET
def chat(request: UserRequest, public_id: uuid.UUID | None = None) -> HttpResponse:
    """Show a conversation, or the page on which a new one begins.

    `?before=` names a message, and only those above it are shown: as a fragment where htmx asks for it.
    """
    if public_id is None:
        return _chat_page(request, None)
    conversation = _conversation_or_404(request.user, public_id)
    before = _message_or_404(conversation, request.GET["before"]) if "before" in request.GET else None
    if before is not None and request.headers.get("HX-Request"):
        entries = read_branch(conversation, limit=PAGE_LENGTH, before=before)
        return render(
            request, "conversations/_earlier.html", _thread_context(conversation, entries, user=request.user)
        )
    return _chat_page(request, conversation, before=before)


def _message_or_404(conversation: Conversation, public_id: str) -> Message:
    try:
        return conversation.messages.get(uuid=uuid.UUID(public_id))
    except (ValueError, Message.DoesNotExist) as error:
        raise Http404 from error


def _chat_page(
    request: UserRequest,
    conversation: Conversation | None,
    *,
    before: Message | None = None,
    form: SendForm | None = None,
    refusal: str = "",
    status: int = 200,
) -> HttpResponse:
    entries = read_branch(conversation, limit=PAGE_LENGTH, before=before) if conversation else []
    use = access.use_of(request.user, now=timezone.now())
    offered = [catalogue.Facts.of(model) for model in catalogue.offered_models(allowed=use.model_ids)]
    asked_for = form["model"].value() if form else ""
    context = {
        **_thread_context(conversation, entries, user=request.user),
        "notices": request.user.notices.filter(
            kind=AccountNotice.Kind.WARNING, acknowledged_at__isnull=True, lifted_at__isnull=True
        ),
        "conversations": Conversation.objects.visible_to(request.user).newest_first()[:SIDEBAR_LENGTH],
        "use": use,
        "is_guest": request.user.standing == User.Standing.GUEST,
        "adopted": request.session.pop("adopted", ""),
        "models": offered,
        "chosen_model": next((m for m in offered if m.slug == asked_for), offered[0] if offered else None),
        "setup_problem": "" if offered else catalogue.SETUP_PROBLEM,
        "max_input_chars": settings.CHAT_MAX_INPUT_CHARS,
        "form": form,
        "refusal": refusal,
        "client_id": uuid.uuid4(),
    }
    return render(request, "conversations/chat.html", context, status=status)


def _thread_context(conversation: Conversation | None, entries: list[Entry], *, user: User) -> dict[str, Any]:
    shown, writer = [], None
    ids = [entry.message.pk for entry in entries]
    rated = {found.message_id: found for found in user.feedback.filter(message__in=ids)} if ids else {}
    for entry in entries:
        context, writer = fragments.entry_context(entry)
        shown.append({**context, "feedback": rated.get(entry.message.pk)})
    last = entries[-1] if entries else None
    cursor = (
        writer.cursor_html() if writer else fragments.cursor_html(last, offset=len(last.text) if last else 0)
    )
    return {
        "conversation": conversation,
        "entries": shown,
        "has_earlier": bool(entries) and entries[0].message.depth > 0,
        "earliest": entries[0].message.uuid if entries else None,
        "cursor_html": cursor,
        "revision_html": fragments.revision_html(conversation.revision if conversation else 0),
        "stop_target_html": fragments.stop_target_html(last) if last else "",
    }


def _conversation_or_404(user: User, public_id: uuid.UUID) -> Conversation:
    conversation = Conversation.objects.visible_to(user).filter(uuid=public_id).first()
    if conversation is None:
        raise Http404
    return conversation


@require_POST
def send(request: UserRequest) -> HttpResponse:
    """Take a message from the composer of a page whose script has not loaded."""
    form = SendForm(request.POST)
    if not form.is_valid():
        return _refused(request, form, first_error(form))
    values = form.cleaned_data
    try:
        turn = turns.start_turn(
            user=request.user,
            conversation=values["conversation"],
            text=values["text"],
            client_id=values["client_id"],
            now=timezone.now(),
            model_slug=values["model"],
            max_tokens=values["max_tokens"],
        )
    except turns.TurnRefused as error:
        return _refused(request, form, str(error))
    return redirect("conversation", turn.conversation.uuid)


def _refused(request: UserRequest, form: SendForm, reason: str) -> HttpResponse:
    """Show the page again, with what was typed and the reason beside it."""
    conversation = None
    if public_id := form.cleaned_data.get("conversation"):
        conversation = Conversation.objects.visible_to(request.user).filter(uuid=public_id).first()
    return _chat_page(request, conversation, form=form, refusal=reason, status=422)


@require_POST
def stop(request: UserRequest) -> HttpResponse:
    """Stop an answer, from a page whose script has not loaded."""
    form = StopForm(request.POST)
    if not form.is_valid():
        raise Http404
    return _act_on_message(request, form.cleaned_data["message"], turns.request_stop)


@require_POST
def continue_(request: UserRequest) -> HttpResponse:
    """Go on with an answer, from a page whose script has not loaded."""
    form = ContinueForm(request.POST)
    if not form.is_valid():
        raise Http404
    return _act_on_message(
        request, form.cleaned_data["message"], turns.continue_answer, client_id=form.cleaned_data["client_id"]
    )


def _act_on_message(
    request: UserRequest, public_id: uuid.UUID, operation: Any, **values: Any
) -> HttpResponse:
    message = (
        Message.objects.visible_to(request.user).filter(uuid=public_id).select_related("conversation").first()
    )
    if message is None:
        raise Http404
    try:
        operation(user=request.user, message=public_id, now=timezone.now(), **values)
    except turns.TurnRefused as error:
        return _chat_page(request, message.conversation, refusal=str(error), status=422)
    return redirect("conversation", message.conversation.uuid)


@require_POST
def rename(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Give a conversation another title."""
    conversation = _conversation_or_404(request.user, public_id)
    form = RenameForm(request.POST)
    if not form.is_valid():
        return _chat_page(request, conversation, refusal=first_error(form), status=422)
    conversations.rename_conversation(
        user=request.user, conversation=public_id, title=form.cleaned_data["title"]
    )
    return redirect("conversation", public_id)


@require_POST
def delete(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Delete a conversation."""
    _conversation_or_404(request.user, public_id)
    is_deleted = conversations.delete_conversation(
        user=request.user, conversation=public_id, now=timezone.now()
    )
    if not is_deleted:
        messages.info(
            request,
            _(
                "The conversation is out of your list. It is deleted for good as soon as the report about it is decided."
            ),
        )
    return redirect("chat")


@require_GET
def export(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Give the branch in view as a Markdown file. What staff took out of view is not in it."""
    conversation = _conversation_or_404(request.user, public_id)
    entries = read_branch(conversation, limit=MAX_EXPORTED)
    who = {Message.Role.USER: _("You"), Message.Role.ASSISTANT: _("Assistant")}
    turns = [f"## {who[Message.Role(e.message.role)]}\n\n{e.text or '…'}\n" for e in entries]
    response = HttpResponse(
        f"# {conversation.title}\n\n" + "\n".join(turns), content_type="text/markdown; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="conversation-{conversation.uuid}.md"'
    return response


@login_not_required
@require_GET
def robots(request: HttpRequest) -> HttpResponse:
    """Tell search engines what they may index: the way in, in production, and nothing anywhere else."""
    rules = "Allow: /accounts/login/\nDisallow: /\n" if settings.IS_PRODUCTION else "Disallow: /\n"
    return HttpResponse(f"User-agent: *\n{rules}", content_type="text/plain")


@never_cache
@login_not_required
@require_GET
def healthz(request: HttpRequest) -> JsonResponse:
    """Say whether this process can serve: 200 where the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)
    return JsonResponse({"status": "ok"})
