"""The project's files: their length, their imports, and vendored copies."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guards.project import PRODUCT, ROOT, files, name

LONGEST = 400
LONGEST_TEST_OR_STYLE = 500
VENDORED = ("static/vendor", "conversations/llm/vocabulary")


def test_no_file_is_too_long() -> None:
    lengths = {
        name(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in files(*PRODUCT, "tests", "benchmarks", suffixes={".py", ".html", ".css", ".js"})
        if "migrations" not in path.parts
    }
    assert len(lengths) > 50
    assert not {
        file: length
        for file, length in lengths.items()
        if length > (LONGEST_TEST_OR_STYLE if file.startswith("tests/") or file.endswith(".css") else LONGEST)
    }


def test_tests_import_nothing_from_test_modules() -> None:
    imports = re.compile(r"^\s*from tests\.(?:\w+\.)*test_\w+ import", re.MULTILINE)
    assert not [
        name(path)
        for path in files("tests", suffixes={".py"})
        if imports.search(path.read_text(encoding="utf-8"))
    ]


def test_imports_follow_the_contracts() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([command, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("folder", VENDORED)
def test_vendored_files_match_their_checksums(folder: str) -> None:
    readme = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    vendored = [path for path in (ROOT / folder).iterdir() if path.is_file() and path.name != "README.md"]
    assert vendored
    for path in vendored:
        recorded = [line for line in readme.splitlines() if line.startswith("|") and f"`{path.name}`" in line]
        assert recorded, f"{name(path)} is missing from the table in the README.md of its folder"
        assert hashlib.sha256(path.read_bytes()).hexdigest() in recorded[0], f"{name(path)} was changed"


@pytest.mark.parametrize("folder", VENDORED)
def test_every_listed_vendored_file_exists(folder: str) -> None:
    readme = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    recorded = re.findall(r"^\| `([^`]+)`", readme, re.MULTILINE)
    assert recorded
    assert not [file for file in recorded if not (ROOT / folder / file).is_file()]
