"""Let users acknowledge notices from staff."""

import uuid

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from conversations.accounts import services
from conversations.accounts.models import AccountNotice, User
from conversations.common.requests import is_fragment


@require_POST
def acknowledge(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Record that the user has read a notice."""
    user = request.user
    assert isinstance(user, User)
    try:
        services.acknowledge_notice(user=user, notice=public_id, now=timezone.now())
    except AccountNotice.DoesNotExist as error:
        raise Http404 from error
    if not is_fragment(request):
        return redirect("chat")
    return HttpResponse()
