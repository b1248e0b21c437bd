"""Form fields for text written by staff."""

from typing import Any

from django import forms

TEXT_LENGTH = 4_000


class Area(forms.Textarea):
    """A text area of a few lines that grows with its content."""

    def __init__(self, rows: int = 3, **attrs: str) -> None:
        super().__init__({"rows": rows, **attrs})


def text_field(
    label: Any, *, required: bool = True, rows: int = 3, max_length: int = TEXT_LENGTH
) -> forms.CharField:
    """Return a multi-line text field."""
    return forms.CharField(label=label, required=required, max_length=max_length, widget=Area(rows))
