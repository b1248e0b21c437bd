"""The writes of the chat, one function per verb. Each is one transaction and takes the time as `now` (UTC)."""
