"""Words that encode the time they were sent, so a reader can tell how long they took to arrive.

All processes of a benchmark run on one machine and share its monotonic clock.
"""

import re
import time
from collections.abc import Iterator

_LETTERS = 5
_TICKS_A_SECOND = 4_000
_TICKS = 26**_LETTERS
"""Ticks until the words repeat: about 49 minutes."""
_WORD = re.compile(rb"[A-Z]{5}")

# A typical answer. Each @ is a word, which makes up a delta with the characters before it.
_MARKDOWN = """\
## @ @ @

@ @ @ @ **@ @** @, @ @ @. @ @ `@` @ @ @ [@ @](https://example.org/) @. *@* @ @ @ @ @ @.

1. @ @ @ @ @
2. @ @ `@` @
3. @ @ @ **@** @ @

@ @ @ @ @ @ @ @ @, @ @ @ @ @ @ @ @. @ @ @ @ @ @ @ @ @ @ @ @ @ @.

```python
def @(@):
    @ = @ + @
    return @
```

| @ | @ |
|---|---|
| @ | @ |
| @ | @ |

> @ @ @ @ @ @ @ @.

"""
_BEFORE = _MARKDOWN.split("@")
# The characters after the last word go before the first word of the next round.
_ROUND = [_BEFORE[-1] + _BEFORE[0], *_BEFORE[1:-1]]


def deltas(*, count: int, chars: int) -> Iterator[str]:
    """Yield `count` deltas of a Markdown text, each with a stamp and about `chars` characters long."""
    for number in range(count):
        before = _ROUND[number % len(_ROUND)] if number else _BEFORE[0]
        yield before + stamp(time.monotonic()) + "n" * (chars - len(before) - _LETTERS)


def stamp(seconds: float) -> str:
    """Return the word that encodes this time."""
    ticks = int(seconds * _TICKS_A_SECOND) % _TICKS
    letters = []
    for _ in range(_LETTERS):
        ticks, letter = divmod(ticks, 26)
        letters.append(chr(65 + letter))
    return "".join(reversed(letters))


def ages(frame: bytes, *, received: float) -> list[float]:
    """Return the age in seconds of each word in a frame when it was received, in order."""
    now = int(received * _TICKS_A_SECOND)
    found = []
    for word in _WORD.findall(frame):
        ticks = 0
        for letter in word:
            ticks = ticks * 26 + letter - 65
        found.append((now - ticks) % _TICKS / _TICKS_A_SECOND)
    return found
