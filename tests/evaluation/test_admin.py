"""The evaluation in Django admin: the prompt of a case that is run again."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.chat.models import Generation, GenerationChunk, Message
from conversations.evaluation.models import Rerun
from conversations.review.models import ReviewCase
from tests.factories import REVIEWER, make_answer, make_report, make_staff
from tests.review.helpers import address

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


@pytest.fixture
def reviewer(client: Client) -> User:
    staff = make_staff("reviewer", *REVIEWER)
    client.force_login(staff)
    return staff


@pytest.fixture
def case(alice: User) -> ReviewCase:
    return make_report(alice, make_answer(alice, "Old answer.")).case


def run_again(case: ReviewCase) -> str:
    return reverse("admin:evaluation_run_again", args=[case.uuid])


def test_the_prompt_run_again_stands_beside_the_answer(
    client: Client, reviewer: User, case: ReviewCase
) -> None:
    response = client.post(run_again(case))
    assert response.status_code == 302
    assert response["Location"] == address(case) + "#rerun"
    rerun = Rerun.objects.get()
    poll = reverse("admin:evaluation_rerun", args=[rerun.uuid])
    page = client.get(address(case)).content.decode()
    assert f'hx-get="{poll}"' in page
    assert f'action="{run_again(case)}"' in page
    assert "already being rerun" in client.post(run_again(case), follow=True).content.decode()
    generation = Generation.objects.get(conversation=rerun.conversation)
    now = timezone.now()
    running = {"status": "running", "runner": "runner", "started_at": now, "heartbeat_at": now}
    Generation.objects.filter(pk=generation.pk).update(**running)
    GenerationChunk.objects.create(generation=generation, offset=0, text="New **words** <b>so far</b>")
    fragment = client.get(poll).content.decode()
    assert "New <strong>words</strong> &lt;b&gt;so far" in fragment
    assert "hx-get" in fragment
    Generation.objects.filter(pk=generation.pk).update(status="complete", ended_at=timezone.now())
    Message.objects.filter(pk=generation.message_id).update(text="New answer.")
    fragment = client.get(poll).content.decode()
    assert "New answer." in fragment
    assert "hx-get" not in fragment
    assert "Old answer." in client.get(address(case)).content.decode()
    assert Rerun.objects.count() == 1


@pytest.mark.parametrize("codenames", [(), ("view_reviewcase",)])
def test_staff_without_the_permission_run_nothing(
    client: Client, case: ReviewCase, codenames: tuple[str, ...]
) -> None:
    client.force_login(make_staff("outsider", *codenames))
    assert client.post(run_again(case)).status_code == 403
    assert not Rerun.objects.exists()
    if codenames:
        assert "run-again" not in client.get(address(case)).content.decode()


def test_what_is_not_there_is_not_found(client: Client, reviewer: User, alice: User) -> None:
    assert client.post(reverse("admin:evaluation_run_again", args=[uuid.uuid4()])).status_code == 404
    assert client.get(reverse("admin:evaluation_rerun", args=[uuid.uuid4()])).status_code == 404


def test_only_those_who_see_cases_see_reruns(client: Client, reviewer: User, case: ReviewCase) -> None:
    client.post(run_again(case))
    poll = reverse("admin:evaluation_rerun", args=[Rerun.objects.get().uuid])
    client.force_login(make_staff("outsider"))
    assert client.get(poll).status_code == 403
