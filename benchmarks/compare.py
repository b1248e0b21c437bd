"""Measure two versions of the site in turn, and print the medians of both: before and after a change.

    git worktree add ../before main
    python benchmarks/compare.py ../before --rounds 5 --svg docs/images/performance.svg

Each round measures the other checkout, then this one. Both are measured with the benchmarks and the interpreter of this
checkout. The last line of output is a JSON object with the medians and all rounds. README.md explains it.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.chart import draw  # noqa: E402  (works from any folder)

Figures = dict[str, float]

# What is measured: the script with its arguments, by name.
MEASUREMENTS = {
    "1 stream": ("stream.py", "--streams=1", "--turns=5"),
    "50 streams": ("stream.py", "--streams=50"),
    "200 streams": ("stream.py", "--streams=200"),
    "400 streams": ("stream.py", "--streams=400", "--turns=2"),
    "turns": ("turns.py",),
    "start": ("start.py",),
    "page": ("page.py",),
}


def copy_of(checkout: Path, folder: Path) -> Path:
    """Copy a checkout to a new folder, with the benchmarks of this one, and return the folder."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "var", "benchmarks", "docs", "tests")
    shutil.copytree(checkout, folder, ignore=ignored)
    shutil.copytree(
        checkout / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "test_*")
    )
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def measure(checkout: Path, name: str) -> Figures:
    """Run one measurement in a checkout, and return its figures. Raises RuntimeError if it fails."""
    script, *arguments = MEASUREMENTS[name]
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", *arguments],
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError("\n".join([f"{name} in {checkout} ended with {done.returncode}.", *lines[-8:]]))
    figures: Figures = json.loads(lines[-1])["figures"]
    return figures


def medians(rounds: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return {
        figure: round(statistics.median(values[figure] for values in rounds), 2)
        for figure in rounds[0]
        if all(figure in values for values in rounds)
    }


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure both versions in turn, and return the medians and all rounds, by measurement and version."""
    versions = {
        "before": copy_of(options.before.resolve(), folder / "before"),
        "after": copy_of(ROOT, folder / "after"),
    }
    rounds: dict[str, dict[str, list[Figures]]] = {}
    for number in range(options.rounds):
        for name in options.only or MEASUREMENTS:
            for version, checkout in versions.items():
                print(f"round {number + 1} of {options.rounds}: {name}, {version}", file=sys.stderr)
                found = rounds.setdefault(name, {}).setdefault(version, [])
                found.append(measure(checkout, name))
    return {
        "medians": {
            name: {version: medians(found) for version, found in by_version.items()}
            for name, by_version in rounds.items()
        },
        "rounds": rounds,
    }


def main() -> int:
    """Read the options, measure, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each version (default 5)")
    parser.add_argument(
        "--only", action="append", choices=list(MEASUREMENTS), help="measure only this (can be repeated)"
    )
    parser.add_argument("--svg", type=Path, help="draw a chart of the medians in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatsite-benchmark-") as folder:
        result = run(options, Path(folder))
    for name, versions in result["medians"].items():
        for figure, after in versions["after"].items():
            print(f"{name:12} {figure:28} {versions['before'].get(figure, '–'):>10} {after:>10}")
    if options.svg:
        options.svg.write_text(draw(result["medians"]), encoding="utf-8")
    print(
        json.dumps(
            {"options": {**vars(options), "before": str(options.before), "svg": str(options.svg)}, **result}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
