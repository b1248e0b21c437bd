"""Reports, review cases, the review log and the records that decisions create."""

from .categories import POLICIES, Category, is_comment_missing
from .log import AppendOnly, ReviewEvent, ReviewLogHead
from .records import BlocklistEntry, ReplyPreset
from .reports import Report, ReviewCase, Snapshot

__all__ = [
    "POLICIES",
    "AppendOnly",
    "BlocklistEntry",
    "Category",
    "ReplyPreset",
    "Report",
    "ReviewCase",
    "ReviewEvent",
    "ReviewLogHead",
    "Snapshot",
    "is_comment_missing",
]
