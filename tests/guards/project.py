"""Find the files of the project, and what is in its code."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def find(path: str) -> Any:
    """Return the object at a dotted path, which starts with a module. Raises LookupError if there is none."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and f"{module}.".startswith(f"{error.name}."):
                continue
            raise
        for part in parts[length:]:
            if not hasattr(found, part):
                raise LookupError(path)
            found = getattr(found, part)
        return found
    raise LookupError(path)
