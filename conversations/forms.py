"""The shape of every form and of every frame that comes in over the socket."""

import uuid
from typing import Any

import orjson
from django import forms
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from conversations.models import Category, Feedback
from conversations.models.conversations import TITLE_LENGTH
from conversations.models.reports import COMMENT_LENGTH

# The largest max_tokens that is looked at at all; what is allowed is decided by the caps.
_LARGEST_NUMBER = 2**31 - 1


class FrameError(ValueError):
    """A frame or form that makes no sense. Its text is fit for the person at the page.

    `client_id` is what the page called the message that it sent, so that it knows which one was refused.
    """

    def __init__(self, message: str | Promise, *, client_id: str = "") -> None:
        super().__init__(str(message))
        self.client_id = client_id


_NOT_UNDERSTOOD = _(
    "The page sent something that this site does not understand. Reload the page and try again."
)


class MessageField(forms.CharField):
    """The text of a message: kept as it was typed, but for line ends, and never blank."""

    def __init__(self) -> None:
        super().__init__(
            strip=False,
            error_messages={
                "required": _("There is nothing to send yet. Type a message."),
                "null_characters_not_allowed": _("The text holds a character that can't be sent (NUL)."),
            },
        )

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if isinstance(text, str):
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            # Half of a character, which JSON can spell and no database stores.
            text = text.encode("utf-8", "replace").decode("utf-8")
            if not text.strip():
                return ""
        return text


class SendForm(forms.Form):
    """A message of the user: the composer's frame, and its form where the script has not loaded."""

    conversation = forms.UUIDField(required=False)
    client_id = forms.UUIDField()
    text = MessageField()
    model = forms.CharField(required=False, max_length=100)
    max_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_LARGEST_NUMBER,
        error_messages={
            "invalid": _("The length of the answer is a whole number of tokens."),
            "min_value": _("An answer has at least one token."),
        },
    )


class StopForm(forms.Form):
    """Stop the generation of this answer."""

    message = forms.UUIDField()


class ContinueForm(forms.Form):
    """Go on with this answer."""

    message = forms.UUIDField()
    client_id = forms.UUIDField(required=False)

    def clean_client_id(self) -> uuid.UUID:
        """Make an id where the page has no script to make one."""
        return self.cleaned_data["client_id"] or uuid.uuid4()


class AttachForm(forms.Form):
    """Where a page stands, sent whenever its socket opens. What a page says of itself is checked against what there is."""

    conversation = forms.UUIDField(required=False)
    message = forms.UUIDField(required=False)
    generation = forms.UUIDField(required=False)
    offset = forms.IntegerField(required=False, min_value=0, max_value=_LARGEST_NUMBER)
    open = forms.BooleanField(required=False)
    revision = forms.IntegerField(required=False, min_value=0, max_value=_LARGEST_NUMBER)


class AckForm(forms.Form):
    """How many bytes of frames a page has taken in since its socket opened."""

    received = forms.IntegerField(min_value=0, max_value=2**53)


class RenameForm(forms.Form):
    """Another title for a conversation."""

    title = forms.CharField(max_length=TITLE_LENGTH)


class TextField(forms.CharField):
    """A few sentences, at most `max_length` characters, with line ends as they are counted in the page."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text.replace("\r\n", "\n") if isinstance(text, str) else text


class ReportForm(forms.Form):
    """A report of a problem with an answer."""

    category = forms.ChoiceField(
        choices=Category.choices,
        error_messages={"required": _("Choose what is wrong."), "invalid_choice": _("Choose what is wrong.")},
    )
    comment = TextField(required=False, max_length=COMMENT_LENGTH)
    includes_context = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("category") == Category.OTHER and not values.get("comment"):
            self.add_error("comment", _("Say in a few words what is wrong."))
        return values


class ApplicationReportForm(forms.Form):
    """A report of a problem with the application itself."""

    category = forms.ChoiceField(
        choices=[
            (choice.value, choice.label)
            for choice in (Category.TECHNICAL, Category.LEGAL, Category.PRIVATE, Category.OTHER)
        ],
        initial=Category.TECHNICAL,
        error_messages={"required": _("Choose what is wrong."), "invalid_choice": _("Choose what is wrong.")},
    )
    comment = TextField(
        max_length=COMMENT_LENGTH,
        error_messages={"required": _("Say what happened: without a few words nobody can look into it.")},
    )
    page = forms.CharField(required=False, max_length=200)


class TextForm(forms.Form):
    """An appeal, or the answer to a question of staff."""

    text = TextField(max_length=COMMENT_LENGTH, error_messages={"required": _("Write a few words first.")})


class FeedbackForm(forms.Form):
    """A thumb up or down, 0 to take it back, or a reason for the one that was given."""

    rating = forms.TypedChoiceField(coerce=int, choices=[(1, "1"), (-1, "-1"), (0, "0")])
    reason = forms.ChoiceField(required=False, choices=Feedback.Reason.choices)

    def clean(self) -> dict[str, Any]:
        """Take a reason only with the thumb that it goes with."""
        values = super().clean() or self.cleaned_data
        rating, reason = values.get("rating"), values.get("reason")
        if reason and (not rating or reason not in Feedback.REASONS[Feedback.Rating(rating)]):
            self.add_error("reason", _NOT_UNDERSTOOD)
        return values


FRAMES: dict[str, type[forms.Form]] = {
    "send": SendForm,
    "stop": StopForm,
    "continue": ContinueForm,
    "attach": AttachForm,
    "ack": AckForm,
}


def max_frame_bytes() -> int:
    """Return the size of the largest frame that is taken, in bytes: 64 KiB, or what the longest message needs in UTF-8."""
    return max(65_536, 4 * settings.CHAT_MAX_INPUT_CHARS + 4_096)


def read_frame(text: str) -> tuple[str, dict[str, Any]]:
    """Return action and cleaned values of a frame. Raises FrameError.

    A frame is a JSON object of plain values; `headers`, which htmx adds, is passed over.
    """
    try:
        frame = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise FrameError(_NOT_UNDERSTOOD) from error
    if not isinstance(frame, dict):
        raise FrameError(_NOT_UNDERSTOOD)
    frame.pop("headers", None)
    action = frame.pop("action", None)
    if not isinstance(action, str) or action not in FRAMES:
        raise FrameError(_NOT_UNDERSTOOD)
    if any(isinstance(value, dict | list) for value in frame.values()):
        raise FrameError(_NOT_UNDERSTOOD)
    form = FRAMES[action](frame)
    if not form.is_valid():
        raise FrameError(first_error(form), client_id=str(frame.get("client_id", "")))
    return action, form.cleaned_data


def first_error(form: forms.Form) -> str:
    """Return one sentence on what is wrong with a form that is not valid: about the text, if anything is."""
    for name in ("text", "max_tokens", "title"):
        if name in form.errors:
            return str(form.errors[name][0])
    return str(_NOT_UNDERSTOOD)
