"""Forms on the case page, one for each action."""

import copy
import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from conversations.accounts.models import User
from conversations.review.models import ReplyPreset, Report, ReviewCase, ReviewEvent
from conversations.review.services import effects
from conversations.review.services.decisions import Decision
from conversations.review.services.effects.base import DISMISSED
from conversations.review.services.effects.fields import text_field

VERDICT = "verdict-"
"""The prefix of a verdict field's name. The report's public ID follows."""


class VerbForm(forms.Form):
    """An action on a case at the version that was shown."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)


class PlainForm(forms.Form):
    """An action that needs no input and can't conflict with another."""


class NoteForm(forms.Form):
    """Add an internal note."""

    text = text_field(_("Internal note"))


class EscalateForm(VerbForm):
    """Escalate the case to a review lead."""

    reason = text_field(_("Why does this case need a review lead?"), rows=2)


class AssignForm(VerbForm):
    """Assign the case to a colleague, or to no one."""

    to = forms.ChoiceField(label=_("Assign to"), required=False)
    reason = text_field(_("Reason"), rows=2)

    def __init__(self, *args: Any, reviewers: list[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reviewers = {str(user.uuid): user for user in reviewers}
        names = [(key, user.get_username()) for key, user in self._reviewers.items()]
        self.fields["to"] = forms.ChoiceField(
            label=_("Assign to"), required=False, choices=[("", _("No one")), *names]
        )

    @property
    def reviewer(self) -> User | None:
        """Return the chosen reviewer, or None."""
        return self._reviewers.get(self.cleaned_data["to"])


class AskForm(VerbForm):
    """Ask a reporter a question."""

    report = forms.UUIDField(widget=forms.HiddenInput)
    question = text_field(_("Question for the reporter"), rows=2, max_length=1_000)


class RevealForm(forms.Form):
    """Reveal a reporter."""

    report = forms.UUIDField(widget=forms.HiddenInput)
    reason = text_field(_("Why do you need to know who reported this?"), rows=2)


class ReadForm(forms.Form):
    """Read a full conversation."""

    reason = text_field(_("Why do you need to read this conversation?"), rows=2)
    case = forms.UUIDField(required=False, widget=forms.HiddenInput)


OUTCOMES = [
    (ReviewEvent.Outcome.UPHELD, _("Uphold: the report is justified")),
    (ReviewEvent.Outcome.DISMISSED, _("Dismiss: there is no problem")),
]
VERDICTS = [
    ("", _("same as the outcome")),
    (Report.Status.UPHELD, _("upheld")),
    (Report.Status.NOT_UPHELD, _("not upheld")),
    (Report.Status.IGNORED, _("ignored")),
]


class PresetSelect(forms.Select):
    """A menu of reply presets. Each option carries its text and outcome for the script that fills in the reply."""

    presets: dict[str, ReplyPreset] = {}

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(*args, **kwargs)
        preset = self.presets.get(str(option["value"]))
        if preset is not None:
            option["attrs"].update({"data-text": preset.text, "data-outcome": preset.outcome})
        return option


class OutcomeForm(forms.Form):
    """The fields of every decision, single or bulk: outcome, reason and reply to the reporters."""

    outcome = forms.ChoiceField(
        label=_("Outcome"),
        choices=OUTCOMES,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose whether to uphold or dismiss the report.")},
    )
    reason = text_field(_("Reason (visible to staff only)"))
    preset = forms.ChoiceField(label=_("Reply preset"), required=False, widget=PresetSelect)
    reply = text_field(_("Reply to the reporters"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._presets = {str(preset.pk): preset for preset in ReplyPreset.objects.filter(is_enabled=True)}
        choices: list[Any] = [("", _("none"))]
        for outcome, label in ReplyPreset.Outcome.choices:
            fitting = [(key, p.title) for key, p in self._presets.items() if p.outcome == outcome]
            if fitting:
                choices.append((label, fitting))
        field = forms.ChoiceField(
            label=_("Reply preset"), required=False, choices=choices, widget=PresetSelect
        )
        field.widget.presets = self._presets
        self.fields["preset"] = field

    def reply_text(self) -> str:
        """Return the reply as typed or, if it is empty, the text of the chosen preset."""
        preset = self._presets.get(self.cleaned_data.get("preset") or "")
        typed: str = self.cleaned_data.get("reply") or ""
        return typed or (preset.text if preset else "")


class BulkForm(OutcomeForm):
    """A bulk decision. `cases` holds the public ID and version of each listed case."""

    cases = forms.CharField(widget=forms.HiddenInput)

    def clean_cases(self) -> dict[uuid.UUID, int]:
        """Return the version of each case by public ID."""
        try:
            pairs = [part.split(":") for part in self.cleaned_data["cases"].split()]
            return {uuid.UUID(public_id): int(version) for public_id, version in pairs}
        except ValueError as error:
            raise forms.ValidationError(_("The list of cases is invalid. Select the cases again.")) from error

    def decision(self) -> Decision:
        """Return the decision entered in the form."""
        given = self.cleaned_data
        return Decision(outcome=given["outcome"], reason=given["reason"], reply=self.reply_text())


@dataclass(frozen=True, slots=True)
class EffectFields:
    """The form fields of one effect."""

    fields: list[forms.BoundField]
    has_switch: bool

    @property
    def switch(self) -> forms.BoundField:
        """Return the checkbox that turns on the effect."""
        return self.fields[0]

    @property
    def others(self) -> list[forms.BoundField]:
        """Return the fields shown while the switch is on."""
        return self.fields[1:]


class DecisionForm(OutcomeForm):
    """A decision on one case."""

    version = forms.IntegerField(min_value=0, widget=forms.HiddenInput)

    def __init__(self, *args: Any, case: ReviewCase, staff: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offered = [kind for kind in effects.EFFECTS if kind.is_offered(case, staff=staff)]
        for kind in effects.EFFECTS:
            self.fields.update(copy.deepcopy(dict(kind.fields)))
        self.waiting = list(case.reports.to_decide().order_by("pk"))
        for report in self.waiting:
            self.fields[f"{VERDICT}{report.uuid}"] = forms.ChoiceField(
                label=_("Verdict on report %(reference)s") % {"reference": report.reference},
                choices=VERDICTS,
                required=False,
            )

    def effects_if_upheld(self) -> list[EffectFields]:
        """Return the offered effects that require the outcome “upheld”."""
        return [self._of(kind) for kind in self._offered if DISMISSED not in kind.outcomes]

    def effects_with_any_outcome(self) -> list[EffectFields]:
        """Return the offered effects that allow any outcome."""
        return [self._of(kind) for kind in self._offered if DISMISSED in kind.outcomes]

    def _of(self, kind: type[effects.ChosenEffect]) -> EffectFields:
        names = sorted(kind.fields, key=lambda name: name != kind.switch)
        return EffectFields([self[name] for name in names], has_switch=bool(kind.switch))

    def verdict_fields(self) -> list[Any]:
        """Return the fields for verdicts on single reports."""
        return [self[f"{VERDICT}{report.uuid}"] for report in self.waiting]

    def clean(self) -> dict[str, Any]:
        """Collect all submitted verdicts, even on reports of other cases. The decision service rejects those."""
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
        """Return the decision entered in the form, without any missing or invalid values."""
        given = self.cleaned_data
        return Decision(
            outcome=given.get("outcome", ""),
            reason=given.get("reason", ""),
            reply=self.reply_text(),
            effects=effects.read(given),
            verdicts=given.get("verdicts", {}),
        )
