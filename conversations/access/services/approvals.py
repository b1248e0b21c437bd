"""Approve pending users."""

from django.db import transaction

from conversations.access import mails as access_mails
from conversations.accounts.models import User


@transaction.atomic
def approve(*, user: User) -> bool:
    """Approve a pending user and email them. Return False if they were not pending."""
    if not User.objects.filter(pk=user.pk, account_type=User.AccountType.PENDING).update(
        account_type=User.AccountType.MEMBER
    ):
        return False
    access_mails.notify_of_approval(user)
    return True
