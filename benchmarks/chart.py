"""Draw the medians of two versions as bars, in an SVG image that needs neither scripts nor fonts of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

Medians = dict[str, dict[str, dict[str, float]]]
"""The figures by measurement, then by version ("before", "after")."""


@dataclass(frozen=True)
class Panel:
    """A group of bars with one scale. Each row is a label, the measurement and the figure."""

    title: str
    rows: tuple[tuple[str, str, str], ...]


PANELS = (
    Panel(
        "CPU, as a multiple of the floor's",
        (
            ("50 streams", "50 streams", "cpu_ratio_to_floor"),
            ("200 streams", "200 streams", "cpu_ratio_to_floor"),
        ),
    ),
    Panel(
        "Time to the first delta, ms",
        (
            ("1 stream, p50", "1 stream", "first_delta_ms_p50"),
            ("50 streams, p50", "50 streams", "first_delta_ms_p50"),
            ("50 streams, p99", "50 streams", "first_delta_ms_p99"),
            ("200 streams, p50", "200 streams", "first_delta_ms_p50"),
            ("200 streams, p99", "200 streams", "first_delta_ms_p99"),
        ),
    ),
    Panel(
        "Relay latency, ms",
        (
            ("50 streams, p50", "50 streams", "relay_ms_p50"),
            ("50 streams, p99", "50 streams", "relay_ms_p99"),
            ("200 streams, p50", "200 streams", "relay_ms_p50"),
            ("200 streams, p99", "200 streams", "relay_ms_p99"),
            ("400 streams, p50", "400 streams", "relay_ms_p50"),
            ("400 streams, p99", "400 streams", "relay_ms_p99"),
        ),
    ),
    Panel(
        "Turns per second",
        (
            ("closed loop", "turns", "turns_per_second"),
            ("open loop", "turns", "open_turns_per_second"),
        ),
    ),
)
_WIDTH, _LABEL, _VALUE = 720, 150, 70
_BAR, _ROW, _TITLE = 11, 30, 44
_COLOURS = {"before": "#9aa0a6", "after": "#0b6bcb"}
# A grey that can be read on a white and on a dark page.
_TEXT = "#767676"


def draw(medians: Medians) -> str:
    """Return an SVG image of the panels, without the figures that were not measured."""
    parts: list[str] = []
    y = 30
    for panel in PANELS:
        rows = [
            (label, {version: figures.get(figure) for version, figures in medians[name].items()})
            for label, name, figure in panel.rows
            if name in medians
        ]
        if rows:
            parts += _panel(panel.title, rows, y)
            y += _TITLE + _ROW * len(rows)
    legend = "".join(
        f'<rect x="{_LABEL + 90 * number}" y="8" width="11" height="11" fill="{colour}"/>'
        f'<text x="{_LABEL + 90 * number + 17}" y="18">{version}</text>'
        for number, (version, colour) in enumerate(_COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="13" '
        f'fill="{_TEXT}" role="img" aria-label="Performance before and after">\n{legend}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(title: str, rows: list[tuple[str, dict[str, float | None]]], y: int) -> Iterator[str]:
    longest = max((value or 0 for _label, values in rows for value in values.values()), default=0) or 1
    yield f'<text x="{_LABEL}" y="{y + 24}" font-weight="bold">{escape(title)}</text>'
    y += _TITLE - 8
    for label, values in rows:
        yield f'<text x="{_LABEL - 10}" y="{y + _BAR + 4}" text-anchor="end">{escape(label)}</text>'
        for number, (version, colour) in enumerate(_COLOURS.items()):
            value = values.get(version)
            if value is None:
                continue
            top = y + number * (_BAR + 1)
            width = max(1, round((_WIDTH - _LABEL - _VALUE) * value / longest))
            yield f'<rect x="{_LABEL}" y="{top}" width="{width}" height="{_BAR}" fill="{colour}"/>'
            yield f'<text x="{_LABEL + width + 6}" y="{top + _BAR - 1}" font-size="11">{value:,g}</text>'
        y += _ROW
