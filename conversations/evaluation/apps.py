"""The evaluation app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EvaluationConfig(AppConfig):
    """The configuration of the app."""

    name = "conversations.evaluation"
    verbose_name = _("Evaluation")

    def ready(self) -> None:
        # Models can be imported from here on only.
        from conversations.evaluation.services.effects import AddToEvaluationSet
        from conversations.review.services import effects

        effects.offer(AddToEvaluationSet)
