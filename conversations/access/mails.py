"""Emails about approvals and invitations."""

from django.urls import reverse
from django.utils import timezone

from conversations.accounts.models import User
from conversations.common.mails import send_on_commit

from .models import Invitation


def notify_of_approval(user: User) -> None:
    """Email a user that their account has been approved."""
    send_on_commit(
        "access/mails/approved.txt", to=[user.email], context={"user": user, "path": reverse("chat")}
    )


def invite(invitation: Invitation) -> None:
    """Email an invitation to its address, and record when."""
    path = reverse("join_by_link", args=[invitation.code])
    send_on_commit(
        "access/mails/invitation.txt",
        to=[invitation.email],
        context={"invitation": invitation, "path": path},
    )
    Invitation.objects.filter(pk=invitation.pk).update(sent_at=timezone.now())
