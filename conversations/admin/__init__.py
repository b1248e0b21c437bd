"""Django admin, one module for each subject; importing them registers what they show."""

from . import chat

__all__ = ["chat"]
