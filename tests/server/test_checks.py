"""The checks that run before the site starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core import checks

from conversations.server.checks import check_processes, check_production
from tests.site import ROOT

FINE = {
    "IS_PRODUCTION": True,
    "IS_HTTPS": True,
    "DEBUG": False,
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
}


def problems(settings: LazySettings, **values: object) -> list[str]:
    for name, value in {**FINE, **values}.items():
        setattr(settings, name, value)
    return [str(found.id) for found in check_production(None) if found.level >= checks.ERROR]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"IS_HTTPS": False}, ["server.E003"]),
        ({"DEBUG": True}, ["server.E004"]),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, ["server.E005"]),
        ({"IS_PRODUCTION": False, "IS_HTTPS": False, "DEBUG": True}, []),
    ],
)
def test_production_requires_its_settings(
    settings: LazySettings, values: dict[str, object], expected: list[str]
) -> None:
    assert problems(settings, **values) == expected


@pytest.mark.parametrize(
    ("environment", "backend"),
    [("production", "smtp"), ("staging", "filebased"), ("development", "filebased")],
)
def test_no_email_is_sent_outside_production(environment: str, backend: str, tmp_path: Path) -> None:
    code = "from django.conf import settings; print(settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH)"
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "DATA_DIR": str(tmp_path),
        "ENVIRONMENT": environment,
        "EMAIL_URL": "submission://name:password@mail.example.org:587",
    }
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True, text=True
    ).stdout
    assert printed.startswith(f"django.core.mail.backends.{backend}.EmailBackend")
    assert ("held-mails" in printed) == (backend == "filebased")


@pytest.mark.parametrize(("processes", "expected"), [("2", ["server.E007"]), ("1", []), ("auto", [])])
def test_several_processes_need_services_that_they_share(
    settings: LazySettings, processes: str, expected: list[str]
) -> None:
    settings.PROCESSES, settings.REDIS_URL = processes, ""
    assert [found.id for found in check_processes(None)] == expected
