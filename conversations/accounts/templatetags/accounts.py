"""Template tags for account forms."""

from django import template
from django.forms import BoundField

register = template.Library()


@register.simple_tag
def has_focus(field: BoundField, is_usual: object) -> bool:
    """Return whether a page should open with the focus in this field: the first one with an error, else the usual one."""
    with_errors = [name for name in field.form.fields if name in field.form.errors]
    return field.name == with_errors[0] if with_errors else bool(is_usual)
