"""Test access to the site: invitations, previews, guests, terms, and limits under concurrent use."""

import datetime as dt
import uuid
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from conversations.access import selectors as access
from conversations.access.models import (
    Invitation,
    Membership,
    Preview,
    Redemption,
    SiteAccess,
    TermsAcceptance,
    TermsVersion,
)
from conversations.access.services import guests, invitations
from conversations.access.services import terms as access_terms
from conversations.access.services.allowances import count_message
from conversations.access.services.approvals import approve
from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation.pseudonymous_id import find_user, pseudonymous_id
from conversations.chat.models import Conversation, Generation, Message
from conversations.chat.services import sessions, turns
from conversations.common import codes
from conversations.common.refusals import Refused
from conversations.limits.models import UsageCounter
from tests.concurrency import at_once
from tests.factories import (
    DAY,
    make_answer,
    make_invitation,
    make_member,
    make_pending,
    make_preview,
    make_report,
    make_staff,
    make_turn,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


# --- Invitations ---


def test_codes_are_accepted_with_dashes_spaces_or_small_letters() -> None:
    invitation = make_invitation(make_preview())
    assert len(invitation.code) == invitations.CODE_LENGTH
    assert set(invitation.code) <= set(codes.LETTERS)
    for typed in (
        invitation.shown_code,
        invitation.code.lower(),
        f"  {invitation.code[:4]} {invitation.code[4:]}",
    ):
        assert invitations.find(typed, now=timezone.now()) == invitation


def test_an_invitation_gives_access_to_its_preview() -> None:
    preview = make_preview()
    invitation = make_invitation(preview, uses_allowed=2)
    person = make_pending("pat")
    for _ in range(2):
        invitations.redeem(user=person, code=invitation.shown_code, now=timezone.now())
    invitation.refresh_from_db()
    assert (invitation.uses, person.account_type) == (1, "preview")
    assert Membership.objects.get().invitation == invitation
    assert make_turn(person).generation.status == "queued"


def test_an_invitation_to_the_site_creates_a_member() -> None:
    person = make_pending("pat")
    invitations.redeem(user=person, code=make_invitation(None).code, now=timezone.now())
    assert person.account_type == "member"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"expires_at": timezone.now() - DAY}, "has expired"),
        ({"revoked_at": timezone.now()}, "revoked"),
        ({"uses": 1}, "no uses left"),
    ],
)
def test_unusable_invitations_are_refused(values: dict[str, Any], reason: str) -> None:
    invitation = make_invitation(make_preview())
    Invitation.objects.filter(pk=invitation.pk).update(**values)
    with pytest.raises(Refused, match=reason):
        invitations.redeem(
            user=make_pending("pat"),
            code=invitation.code,
            now=timezone.now(),
        )
    assert not Redemption.objects.exists()


def test_previews_refuse_people_who_are_not_eligible() -> None:
    now = timezone.now()
    over = make_invitation(make_preview(starts_at=now - 2 * DAY, ends_at=now - DAY))
    with pytest.raises(Refused, match="has ended"):
        invitations.redeem(user=make_pending("a"), code=over.code, now=now)
    domains = make_invitation(make_preview(email_domains="example.org\nexample.net"))
    with pytest.raises(Refused, match="isn't eligible"):
        invitations.redeem(
            user=make_pending("b", email="b@evil.example"),
            code=domains.code,
            now=now,
        )
    invitations.redeem(
        user=make_pending("c", email="c@Example.NET"),
        code=domains.code,
        now=now,
    )
    seats = make_invitation(make_preview(seats=1), uses_allowed=5)
    invitations.redeem(user=make_pending("d"), code=seats.code, now=now)
    with pytest.raises(Refused, match="is full"):
        invitations.redeem(user=make_pending("e"), code=seats.code, now=now)
    assert Invitation.objects.get(pk=seats.pk).uses == 1


@pytest.mark.parametrize("ends_memberships", [False, True])
def test_revoking_an_invitation(ends_memberships: bool) -> None:
    now = timezone.now()
    invitation = make_invitation(make_preview(), uses_allowed=5)
    person = make_pending("pat")
    invitations.redeem(user=person, code=invitation.code, now=now)
    assert invitations.revoke(invitation=invitation, ends_memberships=ends_memberships, now=now) == int(
        ends_memberships
    )
    with pytest.raises(Refused, match="revoked"):
        invitations.redeem(user=make_pending("late"), code=invitation.code, now=now)
    assert access.verdict_for(person, now=now).is_over is ends_memberships


def test_invitations_are_sent_by_email(
    django_capture_on_commit_callbacks: Any, settings: LazySettings
) -> None:
    settings.PUBLIC_URL = "https://chat.example.org"
    staff = make_staff("host")
    with django_capture_on_commit_callbacks(execute=True):
        made = invitations.create_invitations(
            staff=staff, preview=make_preview(name="Two\nlines"), emails=["a@example.org", "b@example.org"]
        )
    assert [sent.to for sent in mail.outbox] == [["a@example.org"], ["b@example.org"]]
    assert f"https://chat.example.org/join/{made[0].code}/" in str(mail.outbox[0].body)
    assert "\n" not in mail.outbox[0].subject
    assert Invitation.objects.filter(sent_at__isnull=True).count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_code_with_ten_uses_admits_ten_of_a_hundred_people(model: ChatModel) -> None:
    preview = make_preview()
    invitation = make_invitation(preview, uses_allowed=10)
    people = [make_pending(f"person{number}") for number in range(100)]

    def redeem(index: int) -> bool:
        try:
            invitations.redeem(user=people[index], code=invitation.code, now=timezone.now())
        except Refused:
            return False
        return True

    assert at_once(100, redeem) == 10
    assert Membership.objects.count() == Redemption.objects.count() == 10
    assert Invitation.objects.get().uses == 10


@pytest.mark.django_db(transaction=True)
def test_a_seat_is_never_given_twice(model: ChatModel) -> None:
    preview = make_preview(seats=5)
    codes = [
        made.code for made in invitations.create_invitations(staff=make_staff("x"), preview=preview, count=30)
    ]
    people = [make_pending(f"person{number}") for number in range(30)]

    def redeem(index: int) -> bool:
        try:
            invitations.redeem(user=people[index], code=codes[index], now=timezone.now())
        except Refused:
            return False
        return True

    assert at_once(30, redeem) == 5
    assert Membership.objects.count() == 5


# --- Previews and limits ---


def test_a_preview_limits_messages_per_day_and_in_total() -> None:
    now = timezone.now()
    person = make_member(make_preview(messages_total=3, messages_per_day=2, ends_at=now + 3 * DAY))
    use = access.verdict_for(person, now=now)
    assert (use.left, use.left_today, use.refusal) == (3, 2, "")
    make_turn(person, now=now)
    make_turn(person, now=now)
    with pytest.raises(Refused, match="all 2 messages for today"):
        make_turn(person, now=now)
    make_turn(person, now=now + DAY)
    with pytest.raises(Refused, match="all 3 messages"):
        make_turn(person, now=now + 2 * DAY)


def test_a_refused_message_is_not_counted(settings: LazySettings) -> None:
    settings.CHAT_MAX_INPUT_CHARS = 2
    person = make_member(make_preview(messages_total=3))
    with pytest.raises(Refused):
        make_turn(person)
    assert Membership.objects.get().messages_used == 0


def test_a_preview_offers_only_its_own_models(model: ChatModel) -> None:
    other = ChatModel.objects.create(
        slug="other",
        label="Other",
        provider="openai",
        upstream_name="other",
        context_window=4_096,
        max_output_tokens=512,
    )
    preview = make_preview()
    preview.chat_models.add(other)
    person = make_member(preview)
    assert make_turn(person).generation.model == other
    with pytest.raises(Refused, match="available"):
        make_turn(person, model_slug=model.slug)


def test_people_can_read_but_not_write_after_a_preview_ends() -> None:
    preview = make_preview()
    person = make_member(preview)
    turn = make_turn(person)
    Preview.objects.update(ends_at=timezone.now() - dt.timedelta(seconds=1))
    use = access.verdict_for(person, now=timezone.now())
    assert use.is_over
    assert "You can still read and export" in use.refusal
    with pytest.raises(Refused, match="has ended"):
        make_turn(person)
    with pytest.raises(Refused, match="has ended"):
        turns.continue_answer(
            user=person,
            message=end(turn.generation, status="stopped").uuid,
            client_id=uuid.uuid4(),
            now=timezone.now(),
        )
    assert Conversation.objects.visible_to(person).exists()


def end(generation: Generation, *, status: str = "complete") -> Message:
    Generation.objects.filter(pk=generation.pk).update(status=status, ended_at=timezone.now())
    return generation.message


def test_pending_users_cannot_write_until_approved(django_capture_on_commit_callbacks: Any) -> None:
    person = make_pending("pat", email="pat@example.org")
    with pytest.raises(Refused, match="awaiting approval"):
        make_turn(person)
    with django_capture_on_commit_callbacks(execute=True):
        assert approve(user=person)
        assert not approve(user=person)
    assert [sent.to for sent in mail.outbox] == [["pat@example.org"]]
    person.refresh_from_db()
    make_turn(person)


def test_daily_limits_per_person_and_per_site(alice: User, charlie: User, settings: LazySettings) -> None:
    now = timezone.now()
    settings.CHAT_SENDS_PER_DAY, settings.SITE_SENDS_PER_DAY = 2, 3
    make_turn(alice, now=now)
    make_turn(alice, now=now)
    with pytest.raises(Refused, match="your daily message limit"):
        make_turn(alice, now=now)
    make_turn(charlie, now=now)
    with pytest.raises(Refused, match="This site has reached its daily limit"):
        make_turn(charlie, now=now)
    make_turn(charlie, now=now + DAY)


def test_a_running_answer_stops_when_access_ends(alice: User) -> None:
    turn = make_turn(alice)
    visitor = sessions.Visitor(alice, "key", "mark")
    sessions.stop_generations([visitor], now=timezone.now())
    turn.generation.refresh_from_db()
    assert (turn.generation.status, turn.generation.stop_requested_at) == (
        "stopped",
        turn.generation.ended_at,
    )


# --- Guests ---


def make_guest(preview: Preview, address: str = "192.0.2.1") -> User:
    return guests.create_guest(preview=preview.uuid, address=address, now=timezone.now())


def test_a_guest_reaches_the_limit_and_keeps_everything_after_sign_up(alice: User) -> None:
    preview = make_preview(allows_guests=True, guest_messages=2)
    guest = make_guest(preview)
    told = make_answer(guest, "Hi.")
    filed = make_report(guest, told)
    make_turn(guest)
    with pytest.raises(Refused, match="used your 2 guest messages"):
        make_turn(guest)
    assert guests.claim_guest_data(guest=guest, user=alice, now=timezone.now())
    assert Conversation.objects.visible_to(alice).count() == 2
    assert set(Message.objects.filter(role="user").values_list("author", flat=True)) == {alice.pk}
    filed.refresh_from_db()
    assert (filed.reporter, filed.case.subject) == (alice, alice)
    assert not User.objects.filter(pk=guest.pk).exists()


def test_guest_data_moves_to_one_account_only(alice: User, charlie: User) -> None:
    guest = make_guest(make_preview(allows_guests=True))
    make_answer(guest)
    assert guests.claim_guest_data(guest=guest, user=alice, now=timezone.now())
    assert not guests.claim_guest_data(guest=guest, user=charlie, now=timezone.now())
    # A user with an account is never treated as a guest.
    assert not guests.claim_guest_data(guest=alice, user=charlie, now=timezone.now())
    assert not Conversation.objects.visible_to(charlie).exists()


def test_guests_join_only_open_previews_and_within_the_address_limit(settings: LazySettings) -> None:
    settings.GUESTS_PER_ADDRESS = 2
    with pytest.raises(Refused, match="doesn't allow guests"):
        make_guest(make_preview())
    preview = make_preview(allows_guests=True)
    make_guest(preview)
    make_guest(preview)
    with pytest.raises(Refused, match="Too many guests"):
        make_guest(preview)
    make_guest(preview, "192.0.2.2")
    assert "192.0.2" not in "".join(UsageCounter.objects.values_list("key", flat=True))


def test_guests_who_never_return_are_deleted() -> None:
    preview = make_preview(allows_guests=True)
    old, held, new = (make_guest(preview) for _ in range(3))
    make_report(held, make_answer(held))
    User.objects.filter(pk__in=[old.pk, held.pk]).update(date_joined=timezone.now() - 40 * DAY)
    assert guests.delete_old_guests(before=timezone.now() - 30 * DAY) == 1
    assert set(User.objects.filter(account_type="guest")) == {held, new}


@pytest.mark.django_db(transaction=True)
def test_simultaneous_messages_never_exceed_the_guest_limit(model: ChatModel, settings: LazySettings) -> None:
    settings.CHAT_SENDS_PER_MINUTE = 1_000
    guest = make_guest(make_preview(allows_guests=True, guest_messages=3))

    def attempt(_index: int) -> bool:
        try:
            make_turn(guest)
        except Refused:
            return False
        return True

    assert at_once(50, attempt) == 3
    assert Message.objects.filter(role="user").count() == 3


# --- The terms of use ---


def test_new_terms_must_be_accepted_again(alice: User) -> None:
    now = timezone.now()

    def terms() -> TermsVersion | None:
        return access.verdict_for(alice, now=now).terms

    assert terms() is None
    access_terms.ensure_terms(now=now)
    access_terms.ensure_terms(now=now)
    first = terms()
    assert first is not None
    access_terms.accept_terms(user=alice, version=first.version, now=now)
    assert terms() is None
    second = access_terms.publish_terms(text="New", now=now)
    assert terms() == second
    assert TermsAcceptance.objects.get().terms == first


# --- Pseudonymous IDs ---


def test_a_pseudonymous_id_is_stable_reveals_nothing_and_changes_with_the_key(
    alice: User, charlie: User, settings: LazySettings
) -> None:
    ids = {pseudonymous_id(alice), pseudonymous_id(charlie)}
    assert len(ids) == 2
    assert pseudonymous_id(alice) == pseudonymous_id(User.objects.get(pk=alice.pk))
    settings.END_USER_ID_KEYS = {"k1": "a secret of 16 characters"}
    first = pseudonymous_id(alice)
    assert first.startswith("k1-")
    settings.END_USER_ID_KEYS = {"k2": "another secret, as long", "k1": "a secret of 16 characters"}
    second = pseudonymous_id(alice)
    assert first != second
    assert find_user(first) == find_user(second) == alice
    assert find_user("k1-" + "0" * 40) is None
    assert find_user("k3-" + "0" * 40) is None
    assert find_user("nonsense") is None
    for identifier in (*ids, first, second):
        assert len(identifier) <= 64
        assert "alice" not in identifier
        assert alice.uuid.hex not in identifier
        assert str(alice.uuid) not in identifier


def test_the_sign_up_mode_in_the_admin_overrides_the_setting(settings: LazySettings) -> None:
    settings.SIGNUP = "approval"
    assert access.signup_mode() == "approval"
    SiteAccess.objects.create(pk=1, signup="invitation")
    assert access.signup_mode() == "invitation"


def test_nobody_gains_messages_by_changing_their_time_zone() -> None:
    now = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
    preview = make_preview(starts_at=now - dt.timedelta(9), ends_at=now + dt.timedelta(9), messages_per_day=1)
    person = make_member(preview)
    count_message(person, access.verdict_for(person, now=now), now=now)
    with timezone.override("Pacific/Auckland"), pytest.raises(Refused, match="message for today"):
        count_message(person, access.verdict_for(person, now=now), now=now)
