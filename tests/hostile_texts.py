"""Answers that are slow to render and that a model can be made to write, for tests and benchmarks."""

LENGTH = 32_000
"""The approximate length of each text in characters: as much as an answer of 8,000 tokens can hold."""


def _repeated(unit: str, *, after: str = "", before: str = "") -> str:
    return before + unit * (LENGTH // len(unit)) + after


def _code(language: str, unit: str) -> str:
    """Return a finished code block followed by a paragraph."""
    return f"```{language}\n{_repeated(unit)[:18_000]}\n```\n\nAfter.\n"


def hostile_texts() -> dict[str, str]:
    """Return the texts by name."""
    return {**_fences(), **_code_blocks(), **_blocks(), **_inline()}


def _fences() -> dict[str, str]:
    return {
        "tildes": _repeated("~"),
        "backticks": _repeated("`"),
        "tildes and a line": _repeated("~", after="\nx"),
        "backticks with a backtick after": _repeated("`", after=" `\nx"),
        "tilde lines": _repeated("~~~~~~~\n"),
        "fences in a list": _repeated("- ```\n"),
        "open fence with returns": _repeated("x\r\n", before="```\n"),
        "blanks after words": _repeated(" ", before="words", after="!"),
        "words and blanks": _repeated("a ", before="- ", after="|"),
    }


def _code_blocks() -> dict[str, str]:
    return {
        "perl substitutions": _code("perl", "s{"),
        "perl quotes": _code("perl", "q{"),
        "python strings": _code("python", "'\\"),
        "html tags": _code("html", "<a "),
        "javascript templates": _code("javascript", "`${"),
        "php tags": _code("php", "<?php "),
        "one long code line": _code("text", "x"),
    }


def _blocks() -> dict[str, str]:
    columns = 500
    row = "|a" * columns + "\n"
    return {
        "wide table": row + "|-" * columns + "\n" + "|\n" * 10_000,
        "full wide table": row + "|-" * columns + "\n" + row * 25,
        "table header with bars": _repeated("|", after="\n|-|\n"),
        "quotations": _repeated(">"),
        "quotations line by line": "".join(">" * depth + "a\n" for depth in range(250)),
        "lists in lists": _repeated("- "),
        "deeper and deeper lists": "\n".join("  " * depth + "- a" for depth in range(170)),
        "empty items": _repeated("-\n"),
        "numbers": _repeated("1. "),
        "one item": _repeated("a\n", before="- "),
        "definitions": "".join(f"[{number}]: /a\n" for number in range(3_000)),
        "half definitions": _repeated("[a]:\n"),
        "definitions without an end": _repeated('[a]: b "\n'),
        "one address used often": "[a]: https://a.example/" + "b" * 12_000 + "\n\n" + "[a]" * 6_000,
        "underlined lines": _repeated("a\n=\n"),
        "rules": _repeated("* "),
        "headings": _repeated("#"),
        "blank lines": _repeated("\n"),
        "one long paragraph": _repeated("word *word*\n"),
        "indented lines": _repeated("    a\n"),
    }


def _inline() -> dict[str, str]:
    return {
        "brackets": _repeated("["),
        "brackets, closed": "[" * (LENGTH // 2) + "]" * (LENGTH // 2),
        "images": _repeated("!["),
        "nested images": "![" * 5_000 + "](b)" * 5_000,
        "links without an end": _repeated("[a]("),
        "link titles": _repeated('[a](b "'),
        "link addresses": _repeated("[a](<b"),
        "parentheses": _repeated("(", before="[a]("),
        "stars": _repeated("*"),
        "formulas without an end": _repeated("\\("),
        "formulas with another end": _repeated("\\(a\\]"),
        "formula lines": _repeated("\\[\n"),
        "formulas in brackets": _repeated("[\\(a"),
        "dollar signs": _repeated("$"),
        "dollars": _repeated("$a "),
        "dollar lines": _repeated("$$ \n"),
        "openers": _repeated("**a"),
        "openers and closers": _repeated("*a_ "),
        "mixed emphasis": _repeated("*a**b_c__"),
        "strikes": _repeated("~~a"),
        "backtick runs": "".join("`" * length + " " for length in range(1, 250)),
        "entities": _repeated("&amp;"),
        "half entities": _repeated("&#x"),
        "tags": _repeated("<a "),
        "comments": _repeated("<!--"),
        "autolinks": _repeated("<a:b"),
        "autolinks without an end": "<https://a" + _repeated("/"),
        "backslashes": _repeated("\\"),
        "line breaks": _repeated("a  \n"),
        "one word": _repeated("a"),
        "combining marks": "a" + _repeated("\u0301"),
    }
