"""Forms on the account pages that django-allauth lacks."""

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import rules


class TimeZoneForm(forms.Form):
    """Ask for a time zone. The current one can always be chosen, even if it is an old name that isn't listed."""

    time_zone = forms.ChoiceField(
        label=_("Time zone"), error_messages={"invalid_choice": _("Choose a time zone from the list.")}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        current = timezone.get_current_timezone_name()
        super().__init__(*args, **{"initial": {"time_zone": current}, **kwargs})
        regions = rules.time_zones_by_region()
        listed = {name for _region, names in regions for name in names}
        self.fields["time_zone"].choices = [  # type: ignore[attr-defined]
            *((name, _label(name)) for name in dict.fromkeys([current, "UTC"]) if name not in listed),
            *((region, [(name, _label(name)) for name in names]) for region, names in regions),
        ]


def _label(name: str) -> str:
    return name.replace("_", " ")
