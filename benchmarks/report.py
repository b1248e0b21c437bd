"""The figures of a benchmark beside its goals: as text, and as JSON on the last line."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A limit of a figure, and the range of streams it applies to (None: any number)."""

    figure: str
    limit: float
    streams: range | None = None
    is_minimum: bool = False

    def judge(self, value: float) -> dict[str, Any]:
        """Return the goal and the figure as JSON."""
        met = value >= self.limit if self.is_minimum else value <= self.limit
        return {"figure": self.figure, "value": value, "goal": self.limit, "met": met}


def judge(figures: dict[str, float], goals: Sequence[Goal], *, streams: int = 1) -> list[dict[str, Any]]:
    """Return the goals that apply to this number of streams, each with its figure."""
    return [
        goal.judge(figures[goal.figure])
        for goal in goals
        if goal.figure in figures and (goal.streams is None or streams in goal.streams)
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile of the values at `share`, which is between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Return the figures as they are shown."""
    return {name: round(value, 2) for name, value in figures.items()}


def show(
    options: argparse.Namespace,
    figures: dict[str, Any],
    goals: list[dict[str, Any]],
    *,
    floor: dict[str, float] | None = None,
    problems: Sequence[str] = (),
    **more: Any,
) -> None:
    """Print the figures, the goals and the problems, then everything as JSON."""
    floor = floor or {}
    for name, value in figures.items():
        beside = f"   (floor {floor[name]})" if name in floor else ""
        print(f"{name:28} {value!s:>10}{beside}")
    for goal in goals:
        verdict = "met" if goal["met"] else "MISSED"
        print(f"{verdict:8} {goal['figure']} {goal['value']} (goal {goal['goal']})")
    for problem in problems[:5]:
        print(problem)
    result = {
        "options": vars(options),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "figures": figures,
        "floor": floor,
        "goals": goals,
        "problems": list(problems[:5]),
        **more,
    }
    print(json.dumps(result))
