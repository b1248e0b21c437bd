"""How many web processes the site runs."""

import pytest

from conversations.server.rules import MAX_PROCESSES, environments, process_count


@pytest.mark.parametrize(
    ("wanted", "cores", "facts", "expected"),
    [
        ("auto", 2, {}, 2),
        ("auto", 64, {}, MAX_PROCESSES),
        ("auto", 4, {"can_share": False}, 1),
        ("auto", 4, {"uses_demo_model": True}, 1),
        ("auto", 4, {"has_local_database": True}, 3),
        ("auto", 1, {"has_local_database": True}, 1),
        ("3", 2, {"uses_demo_model": True, "has_local_database": True}, 3),
        ("1", 64, {}, 1),
    ],
)
def test_auto_is_one_for_each_core_that_nothing_else_needs(
    wanted: str, cores: int, facts: dict[str, bool], expected: int
) -> None:
    usual = {"can_share": True, "uses_demo_model": False, "has_local_database": False}
    assert process_count(wanted, cores=cores, **{**usual, **facts}) == expected


def test_only_one_process_runs_the_demo_model() -> None:
    assert environments(3, uses_demo_model=False) == [{}, {}, {}]
    worker = {"GENERATION_RUNNER": "worker"}
    assert environments(3, uses_demo_model=True) == [{}, worker, worker]
