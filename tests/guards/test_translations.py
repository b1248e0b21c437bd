"""The translations of every offered language are complete."""

import datetime as dt
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation
from django.utils.formats import date_format
from django.utils.translation import to_locale

from tests.guards.project import ROOT

LOCALES = [to_locale(code) for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
Key = tuple[str | None, str, str]


def catalogue(locale: str, suffix: str) -> Path:
    path = ROOT / "locale" / locale / "LC_MESSAGES" / f"django.{suffix}"
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing"
    return path


def key(entry: polib.POEntry | polib.MOEntry) -> Key:
    return entry.msgctxt or None, entry.msgid, entry.msgid_plural or ""


def texts(entry: polib.POEntry | polib.MOEntry) -> list[str]:
    return [text for _number, text in sorted(entry.msgstr_plural.items())] or [entry.msgstr]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_release_is_translated_completely(locale: str) -> None:
    po = polib.pofile(str(catalogue(locale, "po")))
    assert len(po) > 20
    assert not [entry.msgid for entry in po.obsolete_entries()]
    missing = [entry.msgid for entry in (*po.untranslated_entries(), *po.fuzzy_entries())]
    if ".dev" in settings.APP_VERSION and missing:
        # The site shows the English text meanwhile.
        pytest.skip(f"{len(missing)} texts are not translated yet, which only a release requires: {missing}")
    assert not missing


@pytest.mark.parametrize("locale", LOCALES)
def test_compiled_files_are_up_to_date(locale: str) -> None:
    compiled = {key(entry): texts(entry) for entry in polib.mofile(str(catalogue(locale, "mo")))}
    written = {
        key(entry): texts(entry) for entry in polib.pofile(str(catalogue(locale, "po"))).translated_entries()
    }
    assert compiled == written, "run ./translate"


FORMATS = ("DATE", "TIME", "DATETIME", "SHORT_DATE", "SHORT_DATETIME", "YEAR_MONTH", "MONTH_DAY")


@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
@pytest.mark.parametrize("name", FORMATS)
def test_no_date_or_time_ends_with_a_dot(language: str, name: str) -> None:
    # Many of our sentences end with one, and would end with two dots.
    with translation.override(language):
        for month, hour in itertools.product(range(1, 13), (0, 9, 12, 15)):
            written = date_format(dt.datetime(2026, month, 21, hour, 45), f"{name}_FORMAT")
            assert not written.endswith(".")


@pytest.mark.skipif(
    not shutil.which("xgettext"),
    reason="gettext is not installed (on Debian and Ubuntu: apt install gettext)",
)
def test_no_entry_is_missing_or_left_over(tmp_path: Path) -> None:
    for folder in ("chatsite", "conversations", "templates", "locale"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.xz")
        )
    # Without settings, the command works in the current folder and doesn't touch the project's files.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    languages = [f"--locale={locale}" for locale in LOCALES]
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--no-obsolete", *languages],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    for locale in LOCALES:
        found = polib.pofile(str(tmp_path / catalogue(locale, "po").relative_to(ROOT)))
        kept = polib.pofile(str(catalogue(locale, "po")))
        assert {key(entry) for entry in found} == {key(entry) for entry in kept}, "run ./translate"
