"""What is looked at before the site starts."""

import pytest
from django.conf import LazySettings
from django.core import checks

from conversations.checks import check_production

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
        ({"IS_HTTPS": False}, ["conversations.E003"]),
        ({"DEBUG": True}, ["conversations.E004"]),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, ["conversations.E005"]),
        ({"IS_PRODUCTION": False, "IS_HTTPS": False, "DEBUG": True}, []),
    ],
)
def test_production_needs_its_settings(
    settings: LazySettings, values: dict[str, object], expected: list[str]
) -> None:
    assert problems(settings, **values) == expected
