"""The documentation names only what exists: linked files, code, folders and commands."""

import importlib
import os
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.guards.project import PRODUCT, ROOT, find, name

# Decisions stay as they were written, with the names of their time.
PAGES = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md")
    if path.name != "CHANGELOG.md"
]
SUBJECTS = {path.parent.name for path in (ROOT / "conversations").glob("*/__init__.py")}
FOLDERS = {*PRODUCT, "benchmarks", "docs", "locale", "requirements", "tests", *SUBJECTS}


def exists(named: str) -> bool:
    """Return whether something in the code has this dotted name, which starts with a subject."""
    path = f"conversations.{named}"
    try:
        importlib.import_module(path)
    except ImportError:
        try:
            find(path)
        except LookupError:
            return False
    return True


def matches_a_file(pattern: str) -> bool:
    return any(any(folder.glob(pattern.rstrip("/"))) for folder in (ROOT, ROOT / "conversations"))


def problems(text: str, *, folder: Path = ROOT) -> list[str]:
    """Return the links and names in a page that lead nowhere."""
    found = [
        link
        for link in re.findall(r"\]\(([^)#\s]+)", text)
        if "://" not in link and not (folder / link).exists()
    ]
    for command in re.findall(r"manage\.py (\w+)", text):
        found += [] if command in get_commands() else [f"manage.py {command}"]
    for script in re.findall(r"(?:^|[\s`])\./(\w+)(?=[\s`])", text):
        found += [] if os.access(ROOT / script, os.X_OK) else [f"./{script}"]
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        dotted = re.fullmatch(r"(\w+)(?:\.\w+)+(?=\(.*\)$|$)", code)
        if dotted and dotted[1] in SUBJECTS:
            found += [] if exists(code.partition("(")[0]) else [code]
        elif re.fullmatch(r"[\w.*-]+/[\w./*-]*", code) and code.split("/")[0] in FOLDERS:
            found += [] if matches_a_file(code) else [code]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_documentation_names_only_what_exists(page: Path) -> None:
    assert problems(page.read_text(encoding="utf-8"), folder=page.parent) == []


def test_names_that_lead_nowhere_are_found() -> None:
    text = """[a](docs/nowhere.md) [b](README.md) [c](https://example.org/) ./nothing `./dev`
    manage.py serve, manage.py nothing, `access.rules.verdict(user)`, `access.rules.nothing`, `access.nowhere`,
    `chatsite/settings/`, `chatsite/settings.py`, `review/admin/case*.py`, `review/nothing*`, `Europe/Berlin`
    """
    assert problems(text) == [
        "docs/nowhere.md",
        "manage.py nothing",
        "./nothing",
        "access.rules.nothing",
        "access.nowhere",
        "chatsite/settings.py",
        "review/nothing*",
    ]


def test_the_example_of_a_first_change_still_applies() -> None:
    page = (ROOT / "docs" / "first-change.md").read_text(encoding="utf-8")
    searched = re.search(r'^grep -rn "(.+)" (\w+)$', page, re.MULTILINE)
    assert searched
    holders = [
        name(path)
        for path in (ROOT / searched[2]).rglob("*.html")
        if searched[1] in path.read_text(encoding="utf-8")
    ]
    assert holders == ["templates/account/account.html"]
    assert page.count(f"`{holders[0]}`") == 2
    tests = (ROOT / "tests" / "accounts" / "test_accounts.py").read_text(encoding="utf-8")
    assert "# --- The overview ---" in tests
    assert "def hers(" in tests
