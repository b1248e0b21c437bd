"""Every foreign key to a user has a decision on what happens to its rows."""

import enum
from typing import Any

import pytest
from django.db.models import CASCADE, SET_NULL, ForeignObjectRel

from conversations.access.services.guests import fields_that_move
from conversations.accounts.models import User


class Signup(enum.Enum):
    """What happens to a guest's rows when they sign up."""

    MOVES = "they move to the account"
    GOES = "they concern only the guest, or guests have none"


class Deletion(enum.Enum):
    """What happens to the rows when the account is deleted."""

    GOES = "they are deleted with it"
    STAYS = "they are kept as a record, without the person"


DECIDED = {
    "account.EmailAddress.user": (Signup.GOES, Deletion.GOES),
    "admin.LogEntry.user": (Signup.GOES, Deletion.GOES),
    "accounts.AccountNotice.user": (Signup.GOES, Deletion.GOES),
    "review.BlocklistEntry.added_by": (Signup.GOES, Deletion.STAYS),
    "chat.Conversation.owner": (Signup.MOVES, Deletion.GOES),
    "evaluation.EvaluationItem.added_by": (Signup.GOES, Deletion.STAYS),
    "chat.Feedback.user": (Signup.MOVES, Deletion.GOES),
    "access.Invitation.created_by": (Signup.GOES, Deletion.STAYS),
    "access.Membership.user": (Signup.GOES, Deletion.GOES),
    "chat.Message.author": (Signup.MOVES, Deletion.GOES),
    "access.TermsAcceptance.user": (Signup.MOVES, Deletion.GOES),
    "access.Redemption.user": (Signup.GOES, Deletion.GOES),
    "review.Report.reporter": (Signup.MOVES, Deletion.STAYS),
    "evaluation.Rerun.requested_by": (Signup.GOES, Deletion.STAYS),
    "review.ReviewCase.assignee": (Signup.GOES, Deletion.STAYS),
    "review.ReviewCase.claimed_by": (Signup.GOES, Deletion.STAYS),
    "review.ReviewCase.subject": (Signup.MOVES, Deletion.STAYS),
    "review.ReviewEvent.actor": (Signup.GOES, Deletion.STAYS),
    "chat.SocketLease.user": (Signup.GOES, Deletion.GOES),
    "accounts.User_groups.user": (Signup.GOES, Deletion.GOES),
    "accounts.User_user_permissions.user": (Signup.GOES, Deletion.GOES),
    "mfa.Authenticator.user": (Signup.GOES, Deletion.GOES),
    "socialaccount.SocialAccount.user": (Signup.GOES, Deletion.GOES),
    "usersessions.UserSession.user": (Signup.GOES, Deletion.GOES),
}


def name_of(field: Any) -> str:
    return f"{field.model._meta.label}.{field.name}"


RELATIONS = {
    name_of(found.field): found
    for found in User._meta.get_fields(include_hidden=True)
    if isinstance(found, ForeignObjectRel)
}


def test_every_foreign_key_to_a_user_has_a_decision() -> None:
    assert len(RELATIONS) > 10
    assert set(RELATIONS) == set(DECIDED), (
        "Add new foreign keys to DECIDED, and remove those that no longer exist."
    )


@pytest.mark.parametrize("name", RELATIONS)
def test_deletion_follows_the_decision(name: str) -> None:
    _signup, deletion = DECIDED[name]
    does: dict[Any, Deletion] = {CASCADE: Deletion.GOES, SET_NULL: Deletion.STAYS}
    assert does[RELATIONS[name].on_delete] is deletion


def test_signing_up_moves_the_decided_fields() -> None:
    moving = {name_of(field) for field in fields_that_move()}
    assert moving == {name for name, (signup, _deletion) in DECIDED.items() if signup is Signup.MOVES}


def test_every_field_that_moves_refers_to_a_user() -> None:
    named = {
        f"{relation.field.model._meta.label}.{field}"
        for relation in RELATIONS.values()
        for field in getattr(relation.field.model, "MOVES_TO_ACCOUNT", ())
    }
    assert named == {name_of(field) for field in fields_that_move()}
