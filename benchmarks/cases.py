"""Create many review cases, as after a busy year: reported answers, snapshots, decisions and the log."""

import datetime as dt
import random
import uuid
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Conversation, Feedback, Generation, Message
from conversations.review import rules
from conversations.review.models import Category, Report, ReviewCase, ReviewEvent, ReviewLogHead, Snapshot
from conversations.review.services import review_log, snapshots

HOUR = dt.timedelta(hours=1)
PEOPLE = 1_000
REVIEWERS = 8
DAYS = 365
OPEN_SHARE = 0.3
_AT_ONCE = 2_000
_ANSWER = "It is **not** so simple.\n\n- One thing\n- Another thing\n\n```python\nprint('no')\n```\n" * 6


def make_people() -> User:
    """Create reporters and reviewers, and return one of the reviewers."""
    User.objects.bulk_create(User(username=f"person{number}", password="!") for number in range(PEOPLE))
    ChatModel.objects.create(
        slug="measured",
        label="Measured",
        provider="openai",
        upstream_name="measured",
        context_window=8_192,
        max_output_tokens=1_024,
    )
    leads = Group.objects.get(name="Review leads")
    for number in range(REVIEWERS):
        staff = User.objects.create(username=f"reviewer{number}", password="!", is_staff=True)
        staff.groups.add(leads)
    return User.objects.get(username="reviewer0")


class Filler:
    """Adds cases to the database, the same for each seed. All constraints hold, and the log is valid."""

    def __init__(self, *, now: dt.datetime | None = None, seed: int = 1) -> None:
        self.now = now or timezone.now()
        self.random = random.Random(seed)
        self.people = list(User.objects.filter(username__startswith="person"))
        self.reviewers = list(User.objects.filter(username__startswith="reviewer"))
        self.model = ChatModel.objects.get(slug="measured")
        self.number = 0

    def add(self, count: int) -> None:
        """Add this number of cases."""
        while count > 0:
            some = min(count, _AT_ONCE)
            self._add(some)
            count -= some

    def _add(self, count: int) -> None:
        opened = [self.now - dt.timedelta(days=DAYS) * self.random.random() for _ in range(count)]
        answers = self._answers(opened)
        cases = ReviewCase.objects.bulk_create(
            self._case(answer, at) for answer, at in zip(answers, opened, strict=True)
        )
        contents = [self._content(case) for case in cases]
        kept = Snapshot.objects.bulk_create(
            Snapshot(
                case=case, digest=snapshots.digest_of(content), content=content, created_at=case.opened_at
            )
            for case, content in zip(cases, contents, strict=True)
        )
        reports = Report.objects.bulk_create(
            report
            for case, snapshot in zip(cases, kept, strict=True)
            for report in self._reports(case, snapshot)
        )
        by_case: dict[int, list[Report]] = {}
        for report in reports:
            by_case.setdefault(report.case_id, []).append(report)
        happened = [event for case in cases for event in self._events(case, by_case[case.pk])]
        self._append(sorted(happened, key=lambda event: event.at))

    def _answers(self, opened: Sequence[dt.datetime]) -> list[Message]:
        conversations = Conversation.objects.bulk_create(
            Conversation(
                owner=self.random.choice(self.people), title="A talk", created_at=at, last_activity_at=at
            )
            for at in opened
        )
        prompts = Message.objects.bulk_create(
            Message(
                conversation=conversation,
                depth=0,
                role="user",
                author=conversation.owner,
                text="Is it so simple?",
                created_at=conversation.created_at,
            )
            for conversation in conversations
        )
        answers = Message.objects.bulk_create(
            Message(
                conversation=prompt.conversation,
                parent=prompt,
                depth=1,
                role="assistant",
                text=_ANSWER,
                created_at=prompt.created_at,
            )
            for prompt in prompts
        )
        Generation.objects.bulk_create(
            Generation(
                conversation=answer.conversation,
                message=answer,
                model=self.model,
                client_id=uuid.uuid4(),
                max_tokens=1_024,
                status="complete",
                finish_reason="stop",
                created_at=answer.created_at,
                ended_at=answer.created_at,
            )
            for answer in answers
        )
        Feedback.objects.bulk_create(
            Feedback(
                message=answer,
                user=answer.conversation.owner,
                rating=self.random.choice([1, 1, -1]),
                created_at=answer.created_at,
                updated_at=answer.created_at,
            )
            for answer in answers[::3]
        )
        return answers

    def _case(self, answer: Message, opened_at: dt.datetime) -> ReviewCase:
        chance = self.random
        category = chance.choice([name for name in Category.values if name != Category.OTHER])
        reporters = chance.choice([1, 1, 1, 1, 2, 3])
        points = rules.base_priority(category=category, reporters=reporters, records=[])
        case = ReviewCase(
            message=answer,
            subject=answer.conversation.owner,
            category=category,
            points=points,
            reporters=reporters,
            opened_at=opened_at,
            queue_key=rules.queue_key(waiting_since=opened_at, points=points),
        )
        claimed_at = opened_at + HOUR * chance.expovariate(1 / 6)
        if chance.random() < OPEN_SHARE or claimed_at + 4 * HOUR > self.now:
            case.reports_pending = reporters
            self._leave_open(case)
        else:
            case.first_claimed_at = claimed_at
            case.closed_at = claimed_at + HOUR * chance.uniform(0.05, 3)
            case.status = chance.choice(["resolved", "dismissed"])
        return case

    def _leave_open(self, case: ReviewCase) -> None:
        draw = self.random.random()
        if draw < 0.05:
            case.status, case.is_escalated = "escalated", True
        elif draw < 0.1:
            case.status, case.claimed_by = "in_review", self.random.choice(self.reviewers)
            case.claim_expires_at = self.now + 10 * HOUR
            case.first_claimed_at = self.now
        elif draw < 0.3:
            case.assignee = self.random.choice(self.reviewers)

    def _content(self, case: ReviewCase) -> dict[str, Any]:
        assert case.message is not None
        turns = [(case.message.parent, "user", "Is it so simple?"), (case.message, "assistant", _ANSWER)]
        return {
            "format": snapshots.FORMAT,
            "kind": "answer",
            "app_version": settings.APP_VERSION,
            "conversation": str(case.message.conversation.uuid),
            "message": str(case.message.uuid),
            "branch": [str(message.uuid) for message, _role, _text in turns if message],
            "system_prompt": settings.CHAT_SYSTEM_PROMPT,
            "messages": [
                {
                    "uuid": str(message.uuid),
                    "role": role,
                    "text": text,
                    "at": message.created_at.isoformat(timespec="milliseconds"),
                    "is_reported": role == "assistant",
                    "was_hidden": False,
                }
                for message, role, text in turns
                if message
            ],
            "generation": None,
            "moderation": [],
        }

    def _reports(self, case: ReviewCase, snapshot: Snapshot) -> list[Report]:
        verdicts = {"resolved": "upheld", "dismissed": "not_upheld"}
        reports = []
        for reporter in self.random.sample(self.people, case.reporters):
            self.number += 1
            reports.append(
                Report(
                    reference=f"P-{self.number:08}",
                    case=case,
                    reporter=reporter,
                    pseudonym=f"R{reporter.pk:05}",
                    category=case.category,
                    comment="This can't be right.",
                    language="en",
                    snapshot=snapshot,
                    status=verdicts.get(case.status, "pending"),
                    created_at=case.opened_at,
                    updated_at=case.closed_at or case.opened_at,
                    decided_at=case.closed_at,
                )
            )
        return reports

    def _events(self, case: ReviewCase, reports: Sequence[Report]) -> list[ReviewEvent]:
        kind = ReviewEvent.Kind
        events = [
            ReviewEvent(
                case=case,
                report=report,
                kind=kind.FILED,
                text=report.comment,
                details={
                    "category": report.category,
                    "by": report.pseudonym,
                    "snapshot": report.snapshot.digest,
                },
                at=report.created_at,
            )
            for report in reports
        ]
        staff = case.claimed_by or self.random.choice(self.reviewers)
        who: dict[str, Any] = {"actor": staff, "actor_uuid": staff.uuid, "actor_name": staff.username}
        if case.first_claimed_at:
            events.append(ReviewEvent(case=case, kind=kind.CLAIMED, at=case.first_claimed_at, **who))
        if case.closed_at:
            outcome = "upheld" if case.status == "resolved" else "dismissed"
            decided = ReviewEvent(
                case=case, kind=kind.DECIDED, outcome=outcome, text="Because.", at=case.closed_at, **who
            )
            events.append(decided)
        return events

    def _append(self, events: Sequence[ReviewEvent]) -> None:
        head, _created = ReviewLogHead.objects.get_or_create(pk=1)
        for event in events:
            event.sequence, event.previous_digest = head.sequence + 1, head.digest
            event.digest = review_log._digest(event, key=settings.SECRET_KEY)
            head.sequence, head.digest = event.sequence, event.digest
        ReviewEvent.objects.bulk_create(events, batch_size=_AT_ONCE)
        head.save()
