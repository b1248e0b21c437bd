"""The evaluation on the page of a case."""

from typing import Any

from django import template

from conversations.evaluation.rendering import newest_rerun
from conversations.review.models import ReviewCase

register = template.Library()


@register.inclusion_tag("admin/evaluation/_rerun_panel.html")
def rerun_panel(case: ReviewCase, reported_message: Any) -> dict[str, Any]:
    """Show the newest answer to the prompt of this case that was run again, beside the reported one."""
    return {"rerun": newest_rerun(case), "reported_message": reported_message}


@register.inclusion_tag("admin/evaluation/_rerun_button.html", takes_context=True)
def rerun_button(context: template.Context, case: ReviewCase) -> dict[str, Any]:
    """Show the button that runs the prompt of this case again."""
    return {"case": case, "csrf_token": context.get("csrf_token")}
