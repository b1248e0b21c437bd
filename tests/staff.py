"""People of the staff, for tests of the review."""

from django.contrib.auth.models import Permission

from conversations.models import User

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


def make_staff(username: str, *codenames: str) -> User:
    """Return a member of staff with these permissions of the application."""
    staff = User.objects.create_user(
        username, password="correct horse battery", email=f"{username}@example.org", is_staff=True
    )
    permissions = Permission.objects.filter(content_type__app_label="conversations", codename__in=codenames)
    assert permissions.count() == len(set(codenames))
    staff.user_permissions.set(permissions)
    return staff
