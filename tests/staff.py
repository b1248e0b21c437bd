"""Staff accounts for tests of the review."""

from django.apps import apps
from django.contrib.auth.models import Permission
from django.urls import reverse

from conversations.accounts.models import User

REVIEWER = ("view_reviewcase", "claim_reviewcase", "decide_reviewcase", "rerun_reviewcase", "view_report")
LEAD = (
    *REVIEWER,
    "assign_reviewcase",
    "suspend_user",
    "reveal_reporter",
    "read_conversation",
    "view_review_figures",
    "export_reviewcase",
    "view_reviewevent",
)


def admin_of(model: str) -> str:
    """Return the URL of a model's list in Django admin. `model` is its name in lower case."""
    found = next(found for found in apps.get_models() if found._meta.model_name == model)
    return f"{reverse('admin:index')}{found._meta.app_label}/{model}/"


def make_staff(username: str, *codenames: str) -> User:
    """Create a staff user with these permissions."""
    staff = User.objects.create_user(
        username, password="correct horse battery", email=f"{username}@example.org", is_staff=True
    )
    permissions = Permission.objects.filter(codename__in=codenames)
    assert permissions.count() == len(set(codenames))
    staff.user_permissions.set(permissions)
    return staff
