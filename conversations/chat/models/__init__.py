"""Conversations, their messages, and the generations that write answers."""

from . import branches, statements
from .conversations import Conversation, Message, MessagePart, PartKind
from .feedback import Feedback
from .generations import ErrorCode, Generation, GenerationChunk
from .sockets import SocketLease

__all__ = [
    "Conversation",
    "ErrorCode",
    "Feedback",
    "Generation",
    "GenerationChunk",
    "Message",
    "MessagePart",
    "PartKind",
    "SocketLease",
    "branches",
    "statements",
]
