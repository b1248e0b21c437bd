"""Reports from users and the decisions of staff: cases, claims, decisions, effects, the review log and statistics.

Owns Report, ReviewCase, Snapshot, the append-only log, the pages for reporters and the queue in Django admin.
Depends on chat and the subjects below it.
"""
