"""Django admin of the chat. Importing this package registers its model admins."""

from . import conversations, feedback

__all__ = ["conversations", "feedback"]
