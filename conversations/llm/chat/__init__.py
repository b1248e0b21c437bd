"""A client for the chat completions endpoint, which turns answers into typed events."""

from conversations.llm.chat.client import ChatClient
from conversations.llm.chat.parser import Delta, Event, Finish, Reasoning, Usage
from conversations.llm.chat.request import ChatMessage, ChatRequest, TextPart

__all__ = [
    "ChatClient",
    "ChatMessage",
    "ChatRequest",
    "Delta",
    "Event",
    "Finish",
    "Reasoning",
    "TextPart",
    "Usage",
]
