"""Statements that are assembled once do what the ORM does, with other values each time."""

import datetime as dt
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, models
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from conversations.common.statements import Delete, Given, Insert, Select, SelectInstances, Update
from conversations.limits.models import UsageCounter

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def given(model: type[models.Model], name: str) -> Given:
    return Given(name, model._meta.get_field(name))  # type: ignore[arg-type]


def values(instance: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


def sql_of(call: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        call()
    return [query["sql"] for query in captured.captured_queries]


def test_a_select_returns_tuples_with_converted_values() -> None:
    UsageCounter.objects.create(key="a", period_start=NOON, count=3)
    UsageCounter.objects.create(key="b", period_start=NOON, count=4)
    select = Select(
        lambda: UsageCounter.objects.filter(key=given(UsageCounter, "key")).values_list(
            "count", "period_start"
        )
    )
    assert [select.all(key=key) for key in ("a", "b", "c")] == [[[3, NOON]], [[4, NOON]], []]
    assert [select.first(key=key) for key in ("b", "c")] == [[4, NOON], None]


def test_instances_have_the_orm_s_values_and_annotations(
    alice: User, charlie: User, model: ChatModel
) -> None:
    select = SelectInstances(
        User,
        lambda: User.objects.filter(uuid=given(User, "uuid")).annotate(same=F("username")),
    )
    for user in (alice, charlie):
        found = select.first(uuid=user.uuid)
        assert found is not None
        assert values(found) == values(User.objects.get(pk=user.pk))
        assert getattr(found, "same") == user.username  # noqa: B009  (mypy doesn't know annotations)
        assert not found._state.adding
    assert select.first(uuid=uuid.uuid4()) is None

    model.parameters = {"stop": ["é"], "temperature": 0.5}
    model.save()
    [read] = SelectInstances(ChatModel, ChatModel.objects.enabled).all()
    assert values(read) == values(model)


def test_an_insert_stores_what_save_would_store() -> None:
    insert = Insert(ChatModel)
    common: dict[str, Any] = {
        "provider": "openai",
        "upstream_name": "x",
        "context_window": 1000,
        "max_output_tokens": 10,
    }
    made = ChatModel()
    for number, parameters in enumerate(({}, {"temperature": 1}, {"stop": ["%s"]})):
        made = ChatModel(slug=f"a{number}", label="100 %", parameters=parameters, **common)
        assert insert(made) is made
        saved = ChatModel.objects.create(slug=f"b{number}", label="100 %", parameters=parameters, **common)
        read = values(ChatModel.objects.get(pk=made.pk))
        assert read == values(saved) | {"id": made.pk, "slug": made.slug}
    made.label = "changed"
    made.save()
    assert ChatModel.objects.get(pk=made.pk).label == "changed"


def test_changes_and_deletions_have_the_orm_s_sql_and_count_rows() -> None:
    for key in ("a", "b"):
        UsageCounter.objects.create(key=key, period_start=NOON, count=1)
    later = NOON + dt.timedelta(hours=1)
    update = Update(
        lambda: UsageCounter.objects.filter(key=given(UsageCounter, "key")),
        count=F("count") + 1,
        period_start=given(UsageCounter, "period_start"),
    )
    assert update(key="a", period_start=later) == 1
    assert update(key="c", period_start=later) == 0
    assert list(UsageCounter.objects.order_by("key").values_list("count", "period_start")) == [
        (2, later),
        (1, NOON),
    ]
    [ours] = sql_of(lambda: update(key="b", period_start=later))
    [theirs] = sql_of(
        lambda: UsageCounter.objects.filter(key="b").update(count=F("count") + 1, period_start=later)
    )
    assert ours.replace("(", "").replace(")", "") == theirs.replace("(", "").replace(")", "")

    Delete(lambda: UsageCounter.objects.filter(key=given(UsageCounter, "key")))(key="a")
    assert [counter.key for counter in UsageCounter.objects.all()] == ["b"]


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        Select(lambda: UsageCounter.objects.filter(key=given(UsageCounter, "key")).values_list("pk")).all()


@pytest.mark.django_db(transaction=True)
def test_each_thread_can_run_a_statement() -> None:
    counter = UsageCounter.objects.create(key="a", period_start=NOON, count=1)
    select = SelectInstances(
        UsageCounter, lambda: UsageCounter.objects.filter(key=given(UsageCounter, "key"))
    )

    def read(_number: int) -> Any:
        try:
            found = select.first(key="a")
            return found and values(found)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(read, range(6))) == [values(counter)] * 6
