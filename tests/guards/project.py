"""Find the files of the project."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PRODUCT = ("chatsite", "conversations", "templates", "static")


def files(*folders: str, suffixes: set[str]) -> Iterator[Path]:
    """Yield the files in these folders with one of the suffixes, except vendored and generated files."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not {"vendor", "__pycache__"} & set(path.parts):
                yield path


def name(path: Path) -> str:
    """Return the path relative to the project, for messages."""
    return path.relative_to(ROOT).as_posix()
