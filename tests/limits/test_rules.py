"""Test the limits with tables and with properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.limits import rules as limits


def test_characters_are_checked() -> None:
    limits.check_characters("x" * 10, limit=10)
    with pytest.raises(limits.TooManyCharacters) as refused:
        limits.check_characters("x" * 11, limit=10)
    assert (refused.value.limit, refused.value.actual) == (10, 11)


def test_tokens_are_checked() -> None:
    limits.check_tokens(4, limit=4)
    with pytest.raises(limits.TooManyTokens):
        limits.check_tokens(5, limit=4)


@pytest.mark.parametrize(
    ("requested", "site_cap", "model_cap", "expected"),
    [(None, 100, 50, 50), (None, 30, 50, 30), (1, 100, 50, 1), (50, 100, 50, 50), (30, 30, 50, 30)],
)
def test_output_limits_up_to_the_cap_are_allowed(
    requested: int | None, site_cap: int, model_cap: int, expected: int
) -> None:
    assert limits.output_cap(requested, site_cap=site_cap, model_cap=model_cap) == expected


@pytest.mark.parametrize(
    ("requested", "site_cap", "model_cap"), [(51, 100, 50), (31, 30, 50), (10**9, 30, 50)]
)
def test_output_limits_above_the_cap_are_refused(requested: int, site_cap: int, model_cap: int) -> None:
    with pytest.raises(limits.TooManyOutputTokens) as refused:
        limits.output_cap(requested, site_cap=site_cap, model_cap=model_cap)
    assert refused.value.limit == min(site_cap, model_cap)


@pytest.mark.parametrize(
    ("sizes", "budget", "expected"),
    [
        ([("user", 10)], 10, 1),
        ([("user", 10), ("assistant", 10), ("user", 10)], 30, 3),
        # The answer would fit but its question would not, so the whole turn is dropped.
        ([("user", 10), ("assistant", 10), ("user", 10)], 29, 1),
        # A message whose answer failed still starts its own turn.
        ([("user", 1), ("user", 1), ("assistant", 100), ("user", 1)], 40, 2),
    ],
)
def test_the_newest_whole_turns_are_kept(sizes: list[tuple[str, int]], budget: int, expected: int) -> None:
    assert limits.count_fitting(iter(sizes), budget=budget) == expected


def test_a_newest_message_that_does_not_fit_is_refused() -> None:
    with pytest.raises(limits.WindowExceeded):
        limits.count_fitting([("user", 10)], budget=9)


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.integers(0, 50)), max_size=30),
    st.integers(0, 400),
)
def test_kept_messages_fit_and_start_with_a_question(earlier: list[tuple[str, int]], budget: int) -> None:
    sizes = [("user", 5), *earlier]
    try:
        kept = limits.count_fitting(sizes, budget=budget)
    except limits.WindowExceeded:
        assert budget < 5
        return
    used = sum(tokens for _, tokens in sizes[:kept])
    assert used <= budget
    assert sizes[kept - 1][0] == "user"
    following = next((n for n in range(kept, len(sizes)) if sizes[n][0] == "user"), None)
    if following is not None:
        more = sum(tokens for _, tokens in sizes[: following + 1])
        assert more > budget
