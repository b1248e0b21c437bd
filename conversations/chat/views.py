"""The pages of the chat."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from conversations.access import selectors as access
from conversations.access.requests import UserRequest
from conversations.access.services import guests
from conversations.accounts.models import User
from conversations.catalogue import selectors as catalogue
from conversations.chat.forms import (
    ContinueForm,
    DeleteForm,
    FeedbackForm,
    RenameForm,
    SendForm,
    StopForm,
    first_error,
)
from conversations.chat.generation.transcript import Entry, read_branch
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.rendering import fragments
from conversations.chat.services import conversations, turns
from conversations.chat.services import feedback as feedback_operations
from conversations.common.refusals import Refused
from conversations.common.rendering import highlighting
from conversations.common.requests import is_fragment

PAGE_LENGTH = 40
"""The number of messages shown at once. Earlier ones are one click away."""
MAX_EXPORTED = 10_000


@require_GET
def chat(request: UserRequest, public_id: uuid.UUID | None = None) -> HttpResponse:
    """Show a conversation, or the page for a new one.

    With `?before=` only messages above the given one are shown, as a fragment if htmx asks for it.
    """
    if public_id is None:
        return _chat_page(request, None)
    conversation = _conversation_or_404(request.user, public_id)
    before = _message_or_404(conversation, request.GET["before"]) if "before" in request.GET else None
    if before is not None and request.headers.get("HX-Request"):
        entries = read_branch(conversation, limit=PAGE_LENGTH, before=before)
        return render(
            request, "chat/_earlier.html", _thread_context(conversation, entries, user=request.user)
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
    allowed = access.model_ids(request.verdict)
    offered = [catalogue.Facts.of(model) for model in catalogue.offered_models(allowed=allowed)]
    preferred = form["model"].value() if form else _last_model(request.user, conversation, offered)
    context = {
        **_thread_context(conversation, entries, user=request.user),
        "notices": request.user.notices.warnings_to_show(),
        "conversations": Conversation.objects.visible_to(request.user).in_sidebar(),
        "use": request.verdict,
        "is_guest": request.user.account_type == User.AccountType.GUEST,
        "guest_id": request.session.pop(guests.SESSION_KEY, ""),
        "models": offered,
        "chosen_model": next((m for m in offered if m.slug == preferred), offered[0] if offered else None),
        "setup_problem": "" if offered else catalogue.SETUP_PROBLEM,
        "max_input_chars": settings.CHAT_MAX_INPUT_CHARS,
        "max_pages": settings.CHAT_SOCKETS_PER_USER,
        "form": form,
        "refusal": refusal,
        "client_id": uuid.uuid4(),
    }
    return render(request, "chat/chat.html", context, status=status)


def _last_model(user: User, conversation: Conversation | None, offered: list[catalogue.Facts]) -> str:
    """Return the slug of the model that last answered in this conversation, or in any if there is none."""
    if len(offered) < 2:
        return ""
    generations = Generation.objects.visible_to(user)
    if conversation is not None:
        generations = generations.filter(conversation=conversation)
    return generations.order_by("-created_at", "-pk").values_list("model__slug", flat=True).first() or ""


@highlighting.shared_wait()
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
    """Send a message from a page whose script has not loaded."""
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
    except Refused as error:
        return _refused(request, form, str(error))
    return redirect("conversation", turn.conversation.uuid)


def _refused(request: UserRequest, form: SendForm, reason: str) -> HttpResponse:
    """Show the page again with the typed text and the reason."""
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
    """Continue an answer, from a page whose script has not loaded."""
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
    except Refused as error:
        return _chat_page(request, message.conversation, refusal=str(error), status=422)
    return redirect("conversation", message.conversation.uuid)


@require_POST
def rename(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Rename a conversation. A page with script stays where it is."""
    conversation = _conversation_or_404(request.user, public_id)
    form = RenameForm(request.POST)
    if not form.is_valid():
        reason = first_error(form)
        if is_fragment(request):
            return HttpResponse(fragments.refusal(reason), status=422)
        return _chat_page(request, conversation, refusal=reason, status=422)
    renamed = conversations.rename_conversation(
        user=request.user, conversation=public_id, title=form.cleaned_data["title"]
    )
    if not is_fragment(request):
        return redirect("conversation", public_id)
    shown = form.cleaned_data["conversation"]
    title = fragments.location(renamed) if shown == public_id else ""
    return HttpResponse(_conversation_list(request.user, shown=shown) + title)


def _conversation_list(user: User, *, shown: uuid.UUID | None) -> str:
    return fragments.conversation_list(Conversation.objects.visible_to(user).in_sidebar(), shown=shown)


@require_POST
def delete(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Delete a conversation. A page with script stays where it is, unless it shows this conversation."""
    _conversation_or_404(request.user, public_id)
    is_deleted = conversations.delete_conversation(
        user=request.user, conversation=public_id, now=timezone.now()
    )
    if not is_deleted:
        messages.info(
            request,
            _(
                "The conversation was removed from your list. It will be deleted once the report about it is decided."
            ),
        )
    form = DeleteForm(request.POST)
    shown = form.cleaned_data["conversation"] if form.is_valid() else None
    if not is_fragment(request):
        return redirect("chat")
    if shown == public_id:
        return HttpResponse(headers={"HX-Redirect": reverse("chat")})
    if not is_deleted:
        return HttpResponse(headers={"HX-Refresh": "true"})  # The page then shows the message.
    return HttpResponse(_conversation_list(request.user, shown=shown))


@require_GET
def export(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Download the branch in view as a Markdown file, without texts that staff have hidden."""
    conversation = _conversation_or_404(request.user, public_id)
    entries = read_branch(conversation, limit=MAX_EXPORTED)
    who = {Message.Role.USER: _("You"), Message.Role.ASSISTANT: _("Assistant")}
    turns = [f"## {who[Message.Role(e.message.role)]}\n\n{e.text or '…'}\n" for e in entries]
    response = HttpResponse(
        f"# {conversation.title}\n\n" + "\n".join(turns), content_type="text/markdown; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="conversation-{conversation.uuid}.md"'
    return response


def answer_or_404(request: UserRequest, public_id: uuid.UUID) -> Message:
    """Return an answer that this user may read. Raises Http404 if there is none."""
    visible = Message.objects.visible_to(request.user).select_related("conversation")
    message = visible.filter(uuid=public_id, role=Message.Role.ASSISTANT).first()
    if message is None:
        raise Http404
    return message


@require_POST
def feedback(request: UserRequest, public_id: uuid.UUID) -> HttpResponse:
    """Save a thumbs up or thumbs down with an optional reason, or delete it if the rating is 0."""
    message = answer_or_404(request, public_id)
    form = FeedbackForm(request.POST)
    if message.is_hidden or not form.is_valid():
        raise Http404
    kept = feedback_operations.rate(
        user=request.user,
        message=public_id,
        rating=form.cleaned_data["rating"] or None,
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
    )
    if not is_fragment(request):
        return redirect("conversation", message.conversation.uuid)
    return render(request, "chat/_feedback.html", {"message": message, "feedback": kept})
