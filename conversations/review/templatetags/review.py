"""Template tags that show parts of the review on the pages of other subjects."""

from typing import Any

from django import template

from conversations.accounts.models import User
from conversations.chat.models import Message
from conversations.review.models import Report
from conversations.review.models.reports import REPORT_HAS_NEWS

register = template.Library()


@register.inclusion_tag("review/_button.html")
def report_button(message: Message) -> dict[str, Any]:
    """Show the report button below an answer."""
    return {"message": message}


@register.inclusion_tag("review/_slot.html")
def report_slot(message: Message) -> dict[str, Any]:
    """Show the placeholder for the form that reports an answer."""
    return {"message": message}


@register.simple_tag
def count_report_news(user: User) -> int:
    """Return to how many of the user's reports staff have replied since the user last looked."""
    return Report.objects.visible_to(user).filter(REPORT_HAS_NEWS).count()


@register.inclusion_tag("review/_news.html")
def report_news(count: int) -> dict[str, Any]:
    """Show how many of the user's reports have new replies."""
    return {"count": count}


@register.inclusion_tag("review/_menu.html")
def report_menu(page: str, news: int) -> dict[str, Any]:
    """Show the menu links to the user's reports and to the form for a problem with this page (a path)."""
    return {"page": page, "news": news}


@register.inclusion_tag("review/_link.html")
def reports_link(css_class: str = "") -> dict[str, Any]:
    """Show the link to the user's reports."""
    return {"css_class": css_class}


@register.inclusion_tag("review/_styles.html")
def report_styles() -> dict[str, Any]:
    """Show the style sheet links for the report button and its form."""
    return {}


@register.inclusion_tag("review/_scripts.html")
def report_scripts() -> dict[str, Any]:
    """Show the script tags for the report button and its form."""
    return {}
