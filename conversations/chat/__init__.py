"""Conversations, messages and generations, with the pages, socket and HTML of the chat.

Owns Conversation, Message, Generation, the journal, feedback and socket leases. `generation` is the engine: it claims
queued generations, streams them from `llm`, journals them, and serves every viewer from a cursor.
Uses access, limits, catalogue, accounts, llm and common.
"""
