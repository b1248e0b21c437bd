"""What is kept: users, conversations, messages, the catalogue of models and the generations of answers."""

from .conversations import Conversation, Message
from .generations import ChatModel, ErrorCode, Generation, GenerationChunk
from .users import User

__all__ = [
    "ChatModel",
    "Conversation",
    "ErrorCode",
    "Generation",
    "GenerationChunk",
    "Message",
    "User",
]
