"""The effects of decisions beyond their verdicts, each defined in a single class.

To add an effect, write a class in one of these modules and list it in EFFECTS. A subject above this one calls `offer` when
its app is ready. The form, page, checks, preview, execution and log all use that list.
"""

from collections.abc import Mapping
from typing import Any

from .answers import HideAnswer, ShowAnswerAgain
from .base import ChosenEffect, Effect
from .people import LiftNotices, SuspendUser, WarnUser
from .records import AddToBlocklist

EFFECTS: list[type[ChosenEffect]] = [HideAnswer, WarnUser, SuspendUser, AddToBlocklist]
"""The effects that staff can choose, in the order in which they are offered, previewed and applied."""
CONSEQUENCES: tuple[type[Effect], ...] = (ShowAnswerAgain, LiftNotices)
"""The effects that follow automatically from an outcome."""


def offer(effect: type[ChosenEffect]) -> None:
    """Add an effect of another subject to those that staff may choose."""
    if effect not in EFFECTS:
        EFFECTS.append(effect)


def read(given: Mapping[str, Any]) -> tuple[ChosenEffect, ...]:
    """Return the effects chosen in a form with these cleaned values. Missing values count as empty."""
    chosen = (kind.read(given) for kind in EFFECTS)
    return tuple(effect for effect in chosen if effect is not None)


def following(outcome: str) -> tuple[Effect, ...]:
    """Return the effects that follow automatically from this outcome."""
    return tuple(kind() for kind in CONSEQUENCES if outcome in kind.outcomes)


__all__ = [
    "CONSEQUENCES",
    "EFFECTS",
    "AddToBlocklist",
    "ChosenEffect",
    "Effect",
    "HideAnswer",
    "LiftNotices",
    "ShowAnswerAgain",
    "SuspendUser",
    "WarnUser",
    "following",
    "offer",
    "read",
]
