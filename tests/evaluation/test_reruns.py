"""Running a reported prompt again: for staff alone, within today's limits."""

import pytest
from django.conf import LazySettings
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.generation import prompt
from conversations.chat.models import Generation
from conversations.common.refusals import Refused
from conversations.evaluation.models import Rerun
from conversations.evaluation.services import reruns
from conversations.review.services import reports
from tests.factories import LEAD, make_answer, make_report, make_staff

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


@pytest.fixture
def lead(db: None) -> User:
    return make_staff("lead", *LEAD)


def test_a_prompt_over_the_current_limit_is_not_rerun(
    alice: User, lead: User, settings: LazySettings
) -> None:
    filed = make_report(alice, make_answer(alice, prompt="Ten letters"))
    settings.CHAT_MAX_INPUT_CHARS = 10
    with pytest.raises(Refused, match="11 of 10 characters"):
        reruns.run_again(staff=lead, case=filed.case.uuid, now=timezone.now())


def test_a_rerun_is_visible_to_staff_only(alice: User, lead: User) -> None:
    first = make_answer(alice, "Old.", prompt="First")
    told = make_answer(alice, "Bad.", prompt="Second", conversation=first.conversation.uuid)
    filed = make_report(alice, told)
    rerun = reruns.run_again(staff=lead, case=filed.case.uuid, now=timezone.now())
    generation = Generation.objects.get(conversation=rerun.conversation)
    request, _trimmed = prompt.build_request(generation)
    assert [message.text for message in request.messages[1:]] == ["Second"]
    assert generation.conversation.owner == lead
    assert not type(rerun.conversation).objects.visible_to(lead).filter(pk=rerun.conversation_id).exists()
    with pytest.raises(Refused, match="already"):
        reruns.run_again(staff=lead, case=filed.case.uuid, now=timezone.now())
    assert Rerun.objects.count() == 1


def test_a_report_about_the_application_has_no_prompt_to_rerun(alice: User, lead: User) -> None:
    filed = reports.report_application(
        reporter=alice, category="technical", comment="Slow.", page="/", now=timezone.now()
    )
    with pytest.raises(Refused, match="no prompt"):
        reruns.run_again(staff=lead, case=filed.case.uuid, now=timezone.now())
