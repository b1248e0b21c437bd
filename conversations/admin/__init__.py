"""Django admin, one module for each subject; importing them registers what they show."""

from . import access, cases, chat, records

__all__ = ["access", "cases", "chat", "records"]
