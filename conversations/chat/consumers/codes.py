"""The close codes of the chat socket.

Daphne sends only 1000 and the codes from 3000 to 4999, so each reason has a code of its own. static/chat/chat.js and the
`reconnectCodes` in templates/chat/chat.html say how the page reacts to each.
"""

SIGNED_OUT = 4401
TOO_SLOW = 4408
TOO_LARGE = 4413
BLOCKED = 4423
TOO_MANY_PAGES = 4429
TOO_MANY_FRAMES = 4430
INTERNAL_ERROR = 4500

RECONNECTING = frozenset({TOO_SLOW, TOO_LARGE, TOO_MANY_PAGES, INTERNAL_ERROR})
"""The codes after which the page reconnects."""
