"""The settings table in README.md matches chatsite/settings."""

import re

from tests.guards.project import ROOT, files, name
from tests.guards.settings_read import settings_read

ROW = re.compile(r"^\| `(?P<name>[A-Z_]+)` \| (?P<default>`[^`]*`|\(empty\)) \| (?P<meaning>.+) \|$")


def settings_documented() -> dict[str, str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0].strip().splitlines()
    assert table[0] == "| setting | default | meaning |"
    rows = [ROW.match(line) for line in table[2:]]
    assert all(rows), [line for line, row in zip(table[2:], rows, strict=True) if not row]
    names = [row["name"] for row in rows if row]
    assert len(names) == len(set(names))
    return {row["name"]: row["default"].strip("`") for row in rows if row}


def as_documented(default: object) -> str:
    return "(empty)" if default in ("", [], None) else str(default)


def test_the_table_matches_the_settings() -> None:
    read = {setting: as_documented(default) for setting, default in settings_read().items()}
    assert len(read) > 10
    assert settings_documented() == read


def test_only_the_settings_read_the_environment() -> None:
    # These commands read Django's own variables for the first admin.
    commands = "conversations/server/management/commands"
    allowed = {f"{commands}/dev.py", f"{commands}/serve.py"}
    reads = re.compile(r"os\.(getenv|environ\.get|environ\[[^\]]*\](?!\s*=))")
    readers = {
        name(path)
        for path in files("chatsite", "conversations", suffixes={".py"})
        if reads.search(path.read_text(encoding="utf-8"))
    }
    assert readers == allowed
