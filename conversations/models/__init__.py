"""What is kept: users, conversations, the catalogue, generations, reports of problems and what staff decide on them."""

from .access import (
    Invitation,
    Membership,
    NoticeAcceptance,
    Preview,
    Redemption,
    SiteAccess,
    SocketLease,
    UseCounter,
    UseNotice,
)
from .conversations import Conversation, Message
from .feedback import Feedback
from .generations import ChatModel, ErrorCode, Generation, GenerationChunk
from .notices import AccountNotice
from .reports import POLICIES, Category, Report, ReviewCase, Snapshot
from .review_log import AppendOnly, ReviewEvent, ReviewLogHead
from .review_records import BlocklistEntry, EvaluationItem, ReplyPreset, Rerun
from .users import User

__all__ = [
    "POLICIES",
    "AccountNotice",
    "AppendOnly",
    "BlocklistEntry",
    "Category",
    "ChatModel",
    "Conversation",
    "ErrorCode",
    "EvaluationItem",
    "Feedback",
    "Generation",
    "GenerationChunk",
    "Invitation",
    "Membership",
    "Message",
    "NoticeAcceptance",
    "Preview",
    "Redemption",
    "ReplyPreset",
    "Report",
    "Rerun",
    "ReviewCase",
    "ReviewEvent",
    "ReviewLogHead",
    "SiteAccess",
    "Snapshot",
    "SocketLease",
    "UseCounter",
    "UseNotice",
    "User",
]
