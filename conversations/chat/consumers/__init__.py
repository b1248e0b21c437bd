"""The websocket consumer of the chat."""

from .chat import ChatConsumer

__all__ = ["ChatConsumer"]
