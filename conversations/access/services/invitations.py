"""Create, redeem and revoke invitations."""

import datetime as dt
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from conversations.access import mails as access_mails
from conversations.access.models import Invitation, Membership, Preview, Redemption
from conversations.accounts.models import User
from conversations.common.codes import make_code
from conversations.common.refusals import Refused

SESSION_KEY = "invitation"
"""Session key for the invitation code of a visitor, until they have an account."""
CODE_LENGTH = 12
MAX_BATCH = 1_000


def normalise(code: str) -> str:
    """Return a typed code as it is stored: in capitals, without dashes or spaces."""
    return "".join(letter for letter in code.upper() if letter.isalnum())[:16]


@transaction.atomic
def create_invitations(
    *,
    staff: User,
    preview: Preview | None,
    count: int = 1,
    uses_allowed: int = 1,
    label: str = "",
    expires_at: dt.datetime | None = None,
    emails: Sequence[str] = (),
) -> list[Invitation]:
    """Create a batch of codes, or create and send one code for each email address."""
    addresses = [*emails] or [""] * min(count, MAX_BATCH)
    made = [
        Invitation(
            preview=preview,
            code=make_code(CODE_LENGTH),
            label=label,
            email=address,
            uses_allowed=uses_allowed,
            expires_at=expires_at,
            created_by=staff,
        )
        for address in addresses
    ]
    created = Invitation.objects.bulk_create(made)
    for invitation in created:
        if invitation.email:
            send(invitation)
    return created


def send(invitation: Invitation) -> None:
    """Email an invitation to its address."""
    access_mails.invite(invitation)


def find(code: str, *, now: dt.datetime) -> Invitation:
    """Return the invitation with this code. Raises Refused, with the reason, if it can't be used."""
    found = Invitation.objects.select_related("preview").filter(code=normalise(code)).first()
    if found is None:
        raise Refused(_("Invitation code not found. Check the code and try again."))
    if found.revoked_at is not None:
        raise Refused(_("This invitation has been revoked."))
    if found.expires_at is not None and found.expires_at <= now:
        raise Refused(_("This invitation has expired. Ask the person who sent it for a new one."))
    if found.uses >= found.uses_allowed:
        raise Refused(_("This invitation has no uses left. Ask the person who sent it for a new one."))
    if found.preview is not None and (not found.preview.is_enabled or found.preview.ends_at <= now):
        raise Refused(_("The preview for this invitation has ended."))
    return found


@transaction.atomic
def redeem(*, user: User, code: str, now: dt.datetime) -> Invitation:
    """Redeem a code: add the user to its preview or, if it has none, make them a member of the site.

    Redeeming the same code again has no effect. Raises Refused if the code can't be used.
    """
    invitation = Invitation.objects.filter(code=normalise(code)).select_related("preview").first()
    if invitation is not None and Redemption.objects.filter(invitation=invitation, user=user).exists():
        return invitation
    invitation = find(code, now=now)
    preview = invitation.preview
    if preview is not None:
        if not preview.takes(user.email):
            raise Refused(_("Your email address isn't eligible for this preview."))
        _check_seats(preview, user=user)
    # The conditional update never allows more uses than are left, even if many people redeem the code at once.
    is_usable = Q(uses__lt=F("uses_allowed"), revoked_at__isnull=True)
    is_usable &= Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    if not Invitation.objects.filter(is_usable, pk=invitation.pk).update(uses=F("uses") + 1):
        find(code, now=now)
        raise Refused(_("This invitation has no uses left. Ask the person who sent it for a new one."))
    Redemption.objects.create(invitation=invitation, user=user, redeemed_at=now)
    if preview is None:
        User.objects.filter(pk=user.pk).exclude(account_type=User.AccountType.MEMBER).update(
            account_type=User.AccountType.MEMBER
        )
    else:
        join(preview, user=user, invitation=invitation, now=now)
    user.refresh_from_db(fields=["account_type"])
    return invitation


def _check_seats(preview: Preview, *, user: User) -> None:
    """Raise Refused if the preview has no seats left. Guests take no seats."""
    if preview.seats is None or Membership.objects.filter(preview=preview, user=user).exists():
        return
    # Lock the preview so that two people can't take the last seat.
    Preview.objects.select_for_update().get(pk=preview.pk)
    taken = Membership.objects.filter(preview=preview, ended_at__isnull=True)
    if taken.exclude(user__account_type=User.AccountType.GUEST).count() >= preview.seats:
        raise Refused(_("This preview is full."))


def join(
    preview: Preview, *, user: User, now: dt.datetime, invitation: Invitation | None = None
) -> Membership:
    """Add a user to a preview, or renew their ended membership. This also approves a pending user for previews."""
    membership, is_new = Membership.objects.get_or_create(
        preview=preview, user=user, defaults={"invitation": invitation, "joined_at": now}
    )
    if not is_new and membership.ended_at is not None:
        membership.ended_at, membership.invitation, membership.joined_at = None, invitation, now
        membership.save(update_fields=["ended_at", "invitation", "joined_at"])
    User.objects.filter(pk=user.pk, account_type=User.AccountType.PENDING).update(
        account_type=User.AccountType.PREVIEW
    )
    return membership


@transaction.atomic
def revoke(*, invitation: Invitation, ends_memberships: bool, now: dt.datetime) -> int:
    """Revoke an invitation and, if asked, end its memberships. Return the number of memberships ended."""
    Invitation.objects.filter(pk=invitation.pk, revoked_at__isnull=True).update(revoked_at=now)
    if not ends_memberships:
        return 0
    return Membership.objects.filter(invitation=invitation, ended_at__isnull=True).update(ended_at=now)
