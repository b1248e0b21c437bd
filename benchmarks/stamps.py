"""Words that hold the time at which they were sent, so that whoever reads them knows how long they were under way.

All processes of a run are on one machine, where the monotonic clock is the same for all of them.
"""

import re
import time
from collections.abc import Iterator

_LETTERS = 5
_TICKS_A_SECOND = 4_000
_TICKS = 26**_LETTERS
"""After so many ticks, about 49 minutes, the words begin again."""
_WORD = re.compile(rb"[A-Z]{5}")

# What answers are made of. Each @ is a word, and each word is a delta, with the characters before it.
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
# What stands after the last word comes before the first one of the next round.
_ROUND = [_BEFORE[-1] + _BEFORE[0], *_BEFORE[1:-1]]


def deltas(*, count: int, chars: int) -> Iterator[str]:
    """Yield so many deltas of a Markdown text, each with its stamp and about so many characters long."""
    for number in range(count):
        before = _ROUND[number % len(_ROUND)] if number else _BEFORE[0]
        yield before + stamp(time.monotonic()) + "n" * (chars - len(before) - _LETTERS)


def stamp(seconds: float) -> str:
    """Return the word for this time."""
    ticks = int(seconds * _TICKS_A_SECOND) % _TICKS
    letters = []
    for _ in range(_LETTERS):
        ticks, letter = divmod(ticks, 26)
        letters.append(chr(65 + letter))
    return "".join(reversed(letters))


def ages(frame: bytes, *, received: float) -> list[float]:
    """Return how many seconds each word in a frame was under way when the frame was received, in the frame's order."""
    now = int(received * _TICKS_A_SECOND)
    found = []
    for word in _WORD.findall(frame):
        ticks = 0
        for letter in word:
            ticks = ticks * 26 + letter - 65
        found.append((now - ticks) % _TICKS / _TICKS_A_SECOND)
    return found
