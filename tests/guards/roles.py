"""Sign in with each role."""

from django.test import Client
from django.utils import timezone

from conversations.access.services import guests
from conversations.accounts.models import User
from tests.factories import DAY, LEAD, REVIEWER, make_member, make_preview, make_staff, make_user
from tests.page import signed_in


def client_of(role: str) -> Client:
    """Return a test client signed in with this role."""
    now = timezone.now()
    match role:
        case "anonymous":
            return Client()
        case "guest":
            preview = make_preview(allows_guests=True)
            return signed_in(guests.create_guest(preview=preview.uuid, address="192.0.2.1", now=now))
        case "preview":
            return signed_in(make_member(make_preview()))
        case "expired":
            return signed_in(make_member(make_preview(starts_at=now - 2 * DAY, ends_at=now - DAY)))
        case "pending" | "member":
            return signed_in(make_user(role, account_type=role, email=f"{role}@example.org"))
        case "root":
            return signed_in(User.objects.create_superuser("root", password="correct horse battery"))
    return signed_in(make_staff(role, *{"staff": (), "reviewer": REVIEWER, "lead": LEAD}[role]))
