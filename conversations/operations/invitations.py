"""Invitations: making them, using them, revoking them."""

import datetime as dt
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from conversations.models import Invitation, Membership, Preview, Redemption, User

from . import mails
from .access import UseRefused
from .codes import make_code

CODE_LENGTH = 12
MAX_BATCH = 1_000


def normalise(code: str) -> str:
    """Return a code as it is stored, from how it was typed: in any case, with dashes or spaces."""
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
    """Make a batch of codes, or one code for each mail address, which is sent to it."""
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
    """Mail an invitation to the address that it is for."""
    mails.invite(invitation)


def find(code: str, *, now: dt.datetime) -> Invitation:
    """Return the invitation with this code, if it can still be used. Raises UseRefused with the reason."""
    found = Invitation.objects.select_related("preview").filter(code=normalise(code)).first()
    if found is None:
        raise UseRefused(_("There is no such code. Check it letter by letter."))
    if found.revoked_at is not None:
        raise UseRefused(_("This invitation was withdrawn."))
    if found.expires_at is not None and found.expires_at <= now:
        raise UseRefused(_("This invitation has expired. Ask whoever sent it for a new one."))
    if found.uses >= found.uses_allowed:
        raise UseRefused(_("This invitation was used up. Ask whoever sent it for another one."))
    if found.preview is not None and (not found.preview.is_enabled or found.preview.ends_at <= now):
        raise UseRefused(_("The preview that this invitation is for has ended."))
    return found


@transaction.atomic
def redeem(*, user: User, code: str, now: dt.datetime) -> Invitation:
    """Let a person in by a code: into its preview, or, where it has none, into the site for good.

    The same person may use a code twice, which counts once. Raises UseRefused.
    """
    invitation = Invitation.objects.filter(code=normalise(code)).select_related("preview").first()
    if invitation is not None and Redemption.objects.filter(invitation=invitation, user=user).exists():
        return invitation
    invitation = find(code, now=now)
    preview = invitation.preview
    if preview is not None:
        if not preview.takes(user.email):
            raise UseRefused(_("This preview is for people with other mail addresses."))
        _check_seats(preview, user=user)
    # Of many at once, as many get through as there are uses left.
    is_usable = Q(uses__lt=F("uses_allowed"), revoked_at__isnull=True)
    is_usable &= Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    if not Invitation.objects.filter(is_usable, pk=invitation.pk).update(uses=F("uses") + 1):
        find(code, now=now)
        raise UseRefused(_("This invitation was used up. Ask whoever sent it for another one."))
    Redemption.objects.create(invitation=invitation, user=user, redeemed_at=now)
    if preview is None:
        User.objects.filter(pk=user.pk).exclude(standing=User.Standing.MEMBER).update(
            standing=User.Standing.MEMBER
        )
    else:
        join(preview, user=user, invitation=invitation, now=now)
    user.refresh_from_db(fields=["standing"])
    return invitation


def _check_seats(preview: Preview, *, user: User) -> None:
    """Raise UseRefused where all seats of a preview are taken; guests take none."""
    if preview.seats is None or Membership.objects.filter(preview=preview, user=user).exists():
        return
    # Locked, so that the last seat is given once.
    Preview.objects.select_for_update().get(pk=preview.pk)
    taken = Membership.objects.filter(preview=preview, ended_at__isnull=True)
    if taken.exclude(user__standing=User.Standing.GUEST).count() >= preview.seats:
        raise UseRefused(_("All seats of this preview are taken."))


def join(
    preview: Preview, *, user: User, now: dt.datetime, invitation: Invitation | None = None
) -> Membership:
    """Make a person a member of a preview, again where they were one before. Who waits for approval is let in by it."""
    membership, is_new = Membership.objects.get_or_create(
        preview=preview, user=user, defaults={"invitation": invitation, "joined_at": now}
    )
    if not is_new and membership.ended_at is not None:
        membership.ended_at, membership.invitation, membership.joined_at = None, invitation, now
        membership.save(update_fields=["ended_at", "invitation", "joined_at"])
    User.objects.filter(pk=user.pk, standing=User.Standing.PENDING).update(standing=User.Standing.PREVIEW)
    return membership


@transaction.atomic
def revoke(*, invitation: Invitation, ends_memberships: bool, now: dt.datetime) -> int:
    """Stop new uses of an invitation and, where asked to, end what those who used it got. Returns the number of these."""
    Invitation.objects.filter(pk=invitation.pk, revoked_at__isnull=True).update(revoked_at=now)
    if not ends_memberships:
        return 0
    return Membership.objects.filter(invitation=invitation, ended_at__isnull=True).update(ended_at=now)
