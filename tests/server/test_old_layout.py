"""A database from before the first release is recognised and left unchanged."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site import ROOT


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "chatsite.settings", "PORT": "0"}
    return subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_a_database_with_the_old_layout_stops_the_command(command: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE conversations_user (id integer PRIMARY KEY)")
        database.execute("CREATE TABLE django_migrations (id integer PRIMARY KEY, app, name, applied)")
        database.execute("INSERT INTO django_migrations (app, name) VALUES ('conversations', '0001_initial')")
    ended = run(command, tmp_path)
    assert ended.returncode == 1
    assert f"Move {path} away" in ended.stderr
    assert "Traceback" not in ended.stderr
    with sqlite3.connect(path) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"conversations_user", "django_migrations"}


def test_an_empty_database_is_set_up(tmp_path: Path) -> None:
    ended = run("migrate", tmp_path)
    assert ended.returncode == 0, ended.stderr
    with sqlite3.connect(tmp_path / "chat.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM accounts_user").fetchone() == (0,)
