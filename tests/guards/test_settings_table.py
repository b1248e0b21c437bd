"""The settings table in README.md matches chatsite/settings.py."""

import ast
import re

from tests.guards.project import ROOT, files, name

SETTINGS = ROOT / "chatsite" / "settings.py"
ROW = re.compile(r"^\| `(?P<name>[A-Z_]+)` \| (?P<default>`[^`]*`|\(empty\)) \| (?P<meaning>.+) \|$")


def settings_read() -> dict[str, object]:
    """Return each variable read with env.…("NAME", default), and its default."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="env")), args=[ast.Constant(str(setting)), *rest]
            ):
                defaults = [*rest[:1], *(word.value for word in node.keywords if word.arg == "default")]
                # A read without a default accompanies one with a default, as for DATABASE_URL.
                if defaults:
                    assert setting not in found, f"{setting} is read twice"
                    found[setting] = ast.literal_eval(defaults[0])
    return found


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
    # The serve command reads Django's own variables for the first admin.
    allowed = {"chatsite/settings.py", "conversations/server/management/commands/serve.py"}
    reads = re.compile(r"os\.(getenv|environ\.get|environ\[[^\]]*\](?!\s*=))")
    readers = {
        name(path)
        for path in files("chatsite", "conversations", suffixes={".py"})
        if reads.search(path.read_text(encoding="utf-8"))
    }
    assert "conversations/server/management/commands/serve.py" in readers
    assert readers <= allowed
