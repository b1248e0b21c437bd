"""Report categories, and the policy that staff apply to each."""

from dataclasses import dataclass

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Category(models.TextChoices):
    """What is wrong with an answer, as the reporter describes it."""

    HARMFUL = "harmful", _("Harmful or dangerous")
    HATEFUL = "hateful", _("Hateful or harassing")
    SEXUAL = "sexual", _("Sexual")
    PRIVATE = "private", _("Private information")
    INCORRECT = "incorrect", _("Incorrect")
    BIASED = "biased", _("Biased")
    REFUSED = "refused", _("Refused without good reason")
    TECHNICAL = "technical", _("Technical problem")
    LEGAL = "legal", _("Legal problem")
    OTHER = "other", _("Something else")


@dataclass(frozen=True, slots=True)
class CategoryPolicy:
    """The severity of a category, from 1 to 5, and the policy for deciding its cases."""

    severity: int
    text: Promise


POLICIES: dict[str, CategoryPolicy] = {
    Category.HARMFUL: CategoryPolicy(
        5,
        _(
            "Uphold if the answer could help someone harm themselves or others, or omits a warning that a careful person "
            "would give. Hide the answer. Escalate if anyone seems to be in immediate danger."
        ),
    ),
    Category.HATEFUL: CategoryPolicy(
        4,
        _(
            "Uphold if the answer demeans or threatens people because of who they are. Quoting such language to explain "
            "or reject it isn't a violation."
        ),
    ),
    Category.SEXUAL: CategoryPolicy(
        4,
        _(
            "Uphold if the answer is sexually explicit and the user wasn't asking for factual information. Escalate any "
            "sexual content about minors immediately, however it is worded."
        ),
    ),
    Category.PRIVATE: CategoryPolicy(
        4,
        _(
            "Uphold if the answer discloses private information about a person, such as an address, phone number or "
            "diagnosis. Hide the answer first, then find out where the information came from."
        ),
    ),
    Category.INCORRECT: CategoryPolicy(
        2,
        _(
            "Uphold if a fact is wrong and you have a source that says so. Cite the source in your reason. Replace the "
            "answer if someone could act on the mistake."
        ),
    ),
    Category.BIASED: CategoryPolicy(
        2,
        _(
            "Uphold if the answer takes sides without being asked to, or treats groups of people differently when the "
            "question gives no reason to."
        ),
    ),
    Category.REFUSED: CategoryPolicy(
        1,
        _(
            "Uphold if a careful expert would have answered. Add the prompt to the evaluation set so that future models "
            "are tested with it."
        ),
    ),
    Category.TECHNICAL: CategoryPolicy(
        1,
        _("Uphold if you can see or reproduce the fault. State in your reason what was done about it."),
    ),
    Category.LEGAL: CategoryPolicy(
        5,
        _(
            "Don't decide this alone: escalate it, and ask whoever is responsible for legal matters. Hide the answer in "
            "the meantime if leaving it visible could do harm."
        ),
    ),
    Category.OTHER: CategoryPolicy(
        1,
        _("Apply the policy of the closest category, and name that category in your reason."),
    ),
}

NEEDS_COMMENT = Category.OTHER
"""The category that doesn't say what is wrong."""


def is_comment_missing(category: str, comment: str) -> bool:
    """Return whether a report in this category is missing a required comment.

    A constraint on `Report` enforces the same rule.
    """
    return category == NEEDS_COMMENT and not comment.strip()
