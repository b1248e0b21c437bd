"""Forms for reporters."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from conversations.review.models.reports import COMMENT_LENGTH

from . import rules
from .models import Category, is_comment_missing


class TextField(forms.CharField):
    """A short text of at most `max_length` characters. Line breaks count as one character, as on the page."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if isinstance(text, str) else text


class ReportForm(forms.Form):
    """A report of a problem with an answer."""

    category = forms.ChoiceField(
        choices=Category.choices,
        error_messages={"required": _("Choose a category."), "invalid_choice": _("Choose a category.")},
    )
    comment = TextField(required=False, max_length=COMMENT_LENGTH)
    includes_context = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if is_comment_missing(values.get("category", ""), values.get("comment", "")):
            self.add_error("comment", rules.COMMENT_NEEDED)
        return values


class ApplicationReportForm(forms.Form):
    """A report of a problem with the application itself."""

    category = forms.ChoiceField(
        choices=[
            (choice.value, choice.label)
            for choice in (Category.TECHNICAL, Category.LEGAL, Category.PRIVATE, Category.OTHER)
        ],
        initial=Category.TECHNICAL,
        error_messages={"required": _("Choose a category."), "invalid_choice": _("Choose a category.")},
    )
    comment = TextField(
        max_length=COMMENT_LENGTH,
        error_messages={"required": _("Describe what happened so that staff can look into it.")},
    )
    page = forms.CharField(required=False, max_length=200)


class TextForm(forms.Form):
    """An appeal, or an answer to a question from staff."""

    text = TextField(max_length=COMMENT_LENGTH, error_messages={"required": _("Enter some text.")})
