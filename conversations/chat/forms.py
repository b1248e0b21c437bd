"""The forms of the chat, which validate both HTTP posts and socket frames."""

import uuid
from typing import Any

import orjson
from django import forms
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from conversations.chat.models import Feedback
from conversations.chat.models.conversations import TITLE_LENGTH
from conversations.common.refusals import Refused

# The largest number that is parsed at all. The caps decide what is allowed.
_MAX_NUMBER = 2**31 - 1


class FrameError(Refused):
    """An invalid frame or form, with a text that can be shown to the user.

    `client_id` is the page's own id of the message, which tells the page which message was refused.
    """

    def __init__(self, message: str | Promise, *, client_id: str = "") -> None:
        super().__init__(str(message))
        self.client_id = client_id


_NOT_UNDERSTOOD = _("The page sent an invalid request. Reload the page and try again.")


class MessageField(forms.CharField):
    """The text of a message, which must not be blank and is kept as typed except for line endings."""

    def __init__(self) -> None:
        super().__init__(
            strip=False,
            error_messages={
                "required": _("The message is empty. Type something first."),
                "null_characters_not_allowed": _(
                    "The text contains a null character, which can't be sent. Remove it."
                ),
            },
        )

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if isinstance(text, str):
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            # JSON can contain half of a surrogate pair, which no database stores.
            text = text.encode("utf-8", "replace").decode("utf-8")
            if not text.strip():
                return ""
        return text


class SendForm(forms.Form):
    """A message from the composer, sent as a frame or, without script, as a form."""

    conversation = forms.UUIDField(required=False)
    client_id = forms.UUIDField()
    text = MessageField()
    model = forms.CharField(required=False, max_length=100)
    max_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_MAX_NUMBER,
        error_messages={
            "invalid": _("Enter the answer length as a whole number of tokens."),
            "min_value": _("The answer length must be at least one token."),
        },
    )


class StopForm(forms.Form):
    """A request to stop the generation of an answer."""

    message = forms.UUIDField()


class ContinueForm(forms.Form):
    """A request to continue an answer."""

    message = forms.UUIDField()
    client_id = forms.UUIDField(required=False)

    def clean_client_id(self) -> uuid.UUID:
        """Create an id if the page had no script to create one."""
        return self.cleaned_data["client_id"] or uuid.uuid4()


class AttachForm(forms.Form):
    """The cursor of a page, sent whenever its socket opens. It is untrusted and checked against the database."""

    conversation = forms.UUIDField(required=False)
    message = forms.UUIDField(required=False)
    generation = forms.UUIDField(required=False)
    offset = forms.IntegerField(required=False, min_value=0, max_value=_MAX_NUMBER)
    open = forms.BooleanField(required=False)
    revision = forms.IntegerField(required=False, min_value=0, max_value=_MAX_NUMBER)


class AckForm(forms.Form):
    """The number of bytes that a page has received since its socket opened."""

    received = forms.IntegerField(min_value=0, max_value=2**53)


class DeleteForm(forms.Form):
    """A request to delete a conversation, with the id of the one that the page shows."""

    conversation = forms.UUIDField(required=False)


class RenameForm(forms.Form):
    """A new title for a conversation, with the id of the one that the page shows."""

    conversation = forms.UUIDField(required=False)
    title = forms.CharField(max_length=TITLE_LENGTH)


class FeedbackForm(forms.Form):
    """A thumbs up (1) or thumbs down (-1), optionally with a reason, or 0 to withdraw it."""

    rating = forms.TypedChoiceField(coerce=int, choices=[(1, "1"), (-1, "-1"), (0, "0")])
    reason = forms.ChoiceField(required=False, choices=Feedback.Reason.choices)

    def clean(self) -> dict[str, Any]:
        """Reject a reason that doesn't belong to the rating."""
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
    """Return the maximum frame size in bytes, which is 64 KiB or what the longest message needs in UTF-8."""
    return max(65_536, 4 * settings.CHAT_MAX_INPUT_CHARS + 4_096)


def read_frame(text: str) -> tuple[str, dict[str, Any]]:
    """Return the action and the cleaned values of a frame. Raises FrameError.

    A frame is a JSON object of plain values. The `headers` that htmx adds are ignored.
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
    """Return the first error of an invalid form that a user can act on, beginning with the text."""
    for name in ("text", "max_tokens", "title"):
        if name in form.errors:
            return str(form.errors[name][0])
    return str(_NOT_UNDERSTOOD)
