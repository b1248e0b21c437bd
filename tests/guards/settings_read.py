"""The environment variables that the settings read."""

import ast

from tests.guards.project import ROOT

SETTINGS = sorted((ROOT / "chatsite" / "settings").glob("*.py"))


def settings_read() -> dict[str, object]:
    """Return each variable read with env.…("NAME", default), and its default."""
    found: dict[str, object] = {}
    for node in (node for path in SETTINGS for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
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
