"""The forms of the case page: one for each thing that staff do with a case."""

import uuid
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from conversations.models import ReplyPreset, Report, ReviewCase, ReviewEvent, User
from conversations.models.review_records import BLOCKLIST_TEXT_LENGTH
from conversations.operations.decisions import Decision

TEXT_LENGTH = 4_000
VETTED_LENGTH = 50_000
VERDICT = "verdict-"
"""What the name of the field with a report's verdict begins with; the report's public id follows."""


class Area(forms.Textarea):
    """A field for a few lines of text, which grows with it."""

    def __init__(self, rows: int = 3, **attrs: str) -> None:
        super().__init__({"rows": rows, **attrs})


def _text(label: Any, *, required: bool = True, rows: int = 3, max_length: int = TEXT_LENGTH) -> Any:
    return forms.CharField(label=label, required=required, max_length=max_length, widget=Area(rows))


class VerbForm(forms.Form):
    """Something that is done with a case as it was shown: its version is carried along."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)


class PlainForm(forms.Form):
    """Something that needs no word and disturbs nobody."""


class NoteForm(forms.Form):
    """An internal note."""

    text = _text(_("Internal note"))


class EscalateForm(VerbForm):
    """Put the case before a lead."""

    reason = _text(_("Why does this need somebody else?"), rows=2)


class AssignForm(VerbForm):
    """Give the case to a colleague, or to nobody in particular."""

    to = forms.ChoiceField(label=_("To"), required=False)
    reason = _text(_("Reason"), rows=2)

    def __init__(self, *args: Any, reviewers: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reviewers = {str(user.uuid): user for user in reviewers}
        names = [(key, user.get_username()) for key, user in self._reviewers.items()]
        self.fields["to"] = forms.ChoiceField(
            label=_("To"), required=False, choices=[("", _("Nobody in particular")), *names]
        )

    @property
    def reviewer(self) -> User | None:
        """Who was chosen."""
        return self._reviewers.get(self.cleaned_data["to"])


class AskForm(VerbForm):
    """Ask the person behind a report."""

    report = forms.UUIDField(widget=forms.HiddenInput)
    question = _text(_("Question to the reporter"), rows=2, max_length=1_000)


class RevealForm(forms.Form):
    """Look behind the pseudonym."""

    report = forms.UUIDField(widget=forms.HiddenInput)
    reason = _text(_("Why do you need to know who it is?"), rows=2)


class ReadForm(forms.Form):
    """Open a whole conversation."""

    reason = _text(_("Why do you need to read it?"), rows=2)
    case = forms.UUIDField(required=False, widget=forms.HiddenInput)


OUTCOMES = [
    (ReviewEvent.Outcome.UPHELD, _("Uphold: the report is right")),
    (ReviewEvent.Outcome.DISMISSED, _("Dismiss: the answer is fine")),
]
DAYS = [("1", _("1 day")), ("7", _("7 days")), ("30", _("30 days")), ("0", _("without an end"))]
VERDICTS = [
    ("", _("as the outcome")),
    (Report.Status.UPHELD, _("upheld")),
    (Report.Status.NOT_UPHELD, _("not upheld")),
    (Report.Status.IGNORED, _("ignored")),
]


class PresetSelect(forms.Select):
    """The presets; each carries its text and its outcome, for the script that puts it into the reply."""

    presets: dict[str, ReplyPreset] = {}

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(*args, **kwargs)
        preset = self.presets.get(str(option["value"]))
        if preset is not None:
            option["attrs"].update({"data-text": preset.text, "data-outcome": preset.outcome})
        return option


class OutcomeForm(forms.Form):
    """What every decision has, for one case or for many: outcome, reason, and a reply to those who reported."""

    outcome = forms.ChoiceField(
        label=_("Outcome"),
        choices=OUTCOMES,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose whether the report is upheld or dismissed.")},
    )
    reason = _text(_("Reason, for colleagues"))
    preset = forms.ChoiceField(label=_("Prepared reply"), required=False, widget=PresetSelect)
    reply = _text(_("Reply to the reporters"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._presets = {str(preset.pk): preset for preset in ReplyPreset.objects.filter(is_enabled=True)}
        choices: list[Any] = [("", _("none"))]
        for outcome, label in ReplyPreset.Outcome.choices:
            fitting = [(key, p.title) for key, p in self._presets.items() if p.outcome == outcome]
            if fitting:
                choices.append((label, fitting))
        field = forms.ChoiceField(
            label=_("Prepared reply"), required=False, choices=choices, widget=PresetSelect
        )
        field.widget.presets = self._presets
        self.fields["preset"] = field

    def reply_text(self) -> str:
        """Return what was typed; where nothing was, the text of the preset that was chosen."""
        preset = self._presets.get(self.cleaned_data.get("preset") or "")
        typed: str = self.cleaned_data.get("reply") or ""
        return typed or (preset.text if preset else "")


class BulkForm(OutcomeForm):
    """A decision for many cases. `cases` holds the public id and the version of each, as they were listed."""

    cases = forms.CharField(widget=forms.HiddenInput)

    def clean_cases(self) -> dict[uuid.UUID, int]:
        """Read the list of cases."""
        try:
            pairs = [part.split(":") for part in self.cleaned_data["cases"].split()]
            return {uuid.UUID(public_id): int(version) for public_id, version in pairs}
        except ValueError as error:
            raise forms.ValidationError(_("The list of cases can't be read.")) from error

    def decision(self) -> Decision:
        """Return the decision that was typed."""
        given = self.cleaned_data
        return Decision(outcome=given["outcome"], reason=given["reason"], reply=self.reply_text())


class DecisionForm(OutcomeForm):
    """The decision of one case."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    hides_answer = forms.BooleanField(label=_("Take the answer out of view"), required=False)
    vetted_text = _text(
        _("Put a vetted text in its place (Markdown)"), required=False, max_length=VETTED_LENGTH
    )
    warning = _text(_("Warn the user, in these words"), required=False, rows=2)
    suspends = forms.BooleanField(label=_("Suspend the user"), required=False)
    suspension_days = forms.TypedChoiceField(
        label=_("For how long"), required=False, choices=DAYS, coerce=int, empty_value="7", initial="7"
    )
    suspension_text = _text(_("What the user reads about it"), required=False, rows=2)
    blocklist_text = forms.CharField(
        label=_("Wording for the blocklist"), required=False, max_length=BLOCKLIST_TEXT_LENGTH
    )
    adds_to_evaluation = forms.BooleanField(
        label=_("Add prompt and answer to the evaluation set"), required=False
    )

    def __init__(self, *args: Any, case: ReviewCase, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting = list(case.reports.to_decide().order_by("pk"))
        for report in self.waiting:
            self.fields[f"{VERDICT}{report.uuid}"] = forms.ChoiceField(
                label=_("Verdict on %(reference)s") % {"reference": report.reference},
                choices=VERDICTS,
                required=False,
            )

    def verdict_fields(self) -> list[Any]:
        """Return the fields of the single verdicts."""
        return [self[f"{VERDICT}{report.uuid}"] for report in self.waiting]

    def clean(self) -> dict[str, Any]:
        """Read all verdicts that came, also those on reports that this case does not have: deciding refuses them."""
        given = super().clean() or self.cleaned_data
        verdicts: dict[uuid.UUID, str] = {}
        for name, value in self.data.items():
            if not name.startswith(VERDICT) or not value:
                continue
            try:
                verdicts[uuid.UUID(name.removeprefix(VERDICT))] = str(value)
            except ValueError as error:
                raise forms.ValidationError(_("Choose a verdict for each report.")) from error
        given["verdicts"] = verdicts
        return given

    def decision(self) -> Decision:
        """Return the decision that was typed; what is missing or wrong in the form is left out of it."""
        given = self.cleaned_data
        suspends = bool(given.get("suspends"))
        days = int(given.get("suspension_days", 7))
        return Decision(
            outcome=given.get("outcome", ""),
            reason=given.get("reason", ""),
            reply=self.reply_text(),
            hides_answer=bool(given.get("hides_answer")),
            vetted_text=given.get("vetted_text", ""),
            warning=given.get("warning", ""),
            suspends=suspends,
            suspension_days=(days or None) if suspends else None,
            suspension_text=given.get("suspension_text", "") if suspends else "",
            blocklist_text=given.get("blocklist_text", ""),
            adds_to_evaluation=bool(given.get("adds_to_evaluation")),
            verdicts=given.get("verdicts", {}),
        )
