"""How many web processes the site runs."""

import pytest

from conversations.server.rules import MAX_PROCESSES, process_count


@pytest.mark.parametrize(
    ("wanted", "cores", "can_share", "uses_demo_model", "expected"),
    [
        ("auto", 2, True, False, 2),
        ("auto", 64, True, False, MAX_PROCESSES),
        ("auto", 2, False, False, 1),
        ("auto", 2, True, True, 1),
        ("3", 2, True, True, 3),
        ("1", 64, True, False, 1),
    ],
)
def test_auto_is_one_for_each_core_if_they_can_share(
    wanted: str, cores: int, can_share: bool, uses_demo_model: bool, expected: int
) -> None:
    found = process_count(wanted, cores=cores, can_share=can_share, uses_demo_model=uses_demo_model)
    assert found == expected
