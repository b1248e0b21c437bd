"""Limit the length of messages, how much of a conversation is sent, and how often things may be done.

Owns UsageCounter, whose conditional updates keep counts exact across processes. `rules` contains pure functions.
Uses common.
"""
