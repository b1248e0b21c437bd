r"""Keep mathematical formulas as they were written, because Markdown would take their backslashes and asterisks away.

Formulas are `\(…\)` and `$…$` in a line, and `\[…\]` and `$$…$$`. None contains a blank line. Their characters are
replaced by placeholders before the text is parsed. Each placeholder stands for one character, so positions stay the same.
"""

import re
from collections.abc import Iterable

_CHARACTERS = '<\\`*_~[]()!&|$#>+=-:." '
_FIRST_PLACEHOLDER = 0xFDD0
# Noncharacters, which are not used in texts. The parser takes them for letters.
_PLACEHOLDERS = {ord(char): chr(_FIRST_PLACEHOLDER + number) for number, char in enumerate(_CHARACTERS)}
_ORIGINALS = {ord(placeholder): chr(char) for char, placeholder in _PLACEHOLDERS.items()}
_IN_FORMULA = {char: placeholder for char, placeholder in _PLACEHOLDERS.items() if char != ord(" ")}
LESS_THAN = _PLACEHOLDERS[ord("<")]

# A dollar sign often means money. So it starts or ends a formula only if nothing but the formula touches it.
_FORMULA = r"""
    \\\( (?:[^\\] | \\[^()\[\]])*+ \\\)
  | \\\[ (?:[^\\] | \\[^()\[\]])*+ \\\]
  | \$\$ (?:[^$`\\] | \\.)++ \$\$
  | (?<![\w$]) \$ (?![\s$]) (?:[^$`\\\n] | \\[^\n])++ (?<!\s) \$ (?![\w$])
"""
# Code in a line and escaped characters come first, where they begin first.
_OTHERS = r"(?<!`)(?P<fence>`++)(?!`) .+? (?<!`)(?P=fence)(?!`) | \\[^()\[\]]"
_FORMULAS = re.compile(rf"(?P<formula>{_FORMULA}) | {_OTHERS}", re.VERBOSE | re.DOTALL)
# While a text grows, the end of its last formula is probably still to come, and the text should not change then.
_OPEN_FORMULAS = re.compile(
    rf"(?P<formula>{_FORMULA} | \\[(\[] (?:[^\\] | \\[^()\[\]])*+ \\?+ \Z) | {_OTHERS}",
    re.VERBOSE | re.DOTALL,
)
_MAY_BE_FORMULA = re.compile(r"\\[(\[]|\$")
_LINE_END_BLANKS = re.compile(r" +(?=[\r\n])")
_QUOTATION = re.compile(r"^[ \t>]+", re.MULTILINE)

# A line on which a formula of several lines begins, possibly inside list items and quotations.
_OPENING_LINE = re.compile(
    r"^(?P<quotation>[ ]*+(?:>[ ]*+)*+)(?P<marker>(?:(?:[-*+]|[0-9]{1,9}[.)])[ ]++)*+)"
    r"(?P<opener>\\\[|\$\$)(?P<rest>[^\r\n]*+)(?:\r\n|\r|\n)",
    re.MULTILINE,
)
_CLOSERS = {"\\[": "\\]", "$$": "$$"}
_LINE = re.compile(r"(?P<indent>[ \t]*+)(?P<content>[^\r\n]*+)(?:\r\n|\r|\n|\Z)")
_FENCE = re.compile(r"```|~~~")
_BLOCK_START = re.compile(r"[-+*#>=|_:~]|[0-9]{1,9}[.)]")


def may_have_formulas(text: str) -> bool:
    """Return whether a text has characters with which formulas begin."""
    return ("\\" in text or "$" in text) and _MAY_BE_FORMULA.search(text) is not None


def hide(text: str) -> str:
    """Return the text with placeholders for all characters that Markdown could interpret."""
    return text.translate(_IN_FORMULA)


def restore(text: str) -> str:
    """Return the text with the original characters in place of the placeholders."""
    return text.translate(_ORIGINALS)


def keep_formula_lines(source: str) -> str:
    """Keep a formula of several lines in one paragraph, even if a line looks like a list item or a heading.

    This depends only on the lines of the formula, so it is the same in any part of the text that contains them all.
    """
    kept: list[str] = []
    done = 0
    opening = _OPENING_LINE.search(source)
    while opening is not None:
        closer = _CLOSERS[opening["opener"]]
        position = opening.end()
        if closer not in opening["rest"]:
            column = opening.start("opener") - opening.start()
            is_quoted = ">" in opening["quotation"]
            must_indent = not is_quoted and (bool(opening["marker"]) or column > 3)
            kept.append(source[done:position])
            position, lines = _keep_lines(
                source, position, closer, indent=column if must_indent else 0, is_quoted=is_quoted
            )
            kept.append(lines)
            done = position
        opening = _OPENING_LINE.search(source, position)
    return "".join(kept) + source[done:] if kept else source


def _keep_lines(source: str, position: int, closer: str, *, indent: int, is_quoted: bool) -> tuple[int, str]:
    """Return where the formula's last line ends, and its lines with placeholders at their starts."""
    kept: list[str] = []
    while position < len(source):
        line = _LINE.match(source, position)
        assert line is not None
        start, content = line.start("content"), line["content"]
        if is_quoted:
            if not content.startswith(">"):
                break
            content = content.lstrip("> ")
            start = line.end("content") - len(content)
        if not content or len(line["indent"]) < indent or _FENCE.match(content):
            break
        first = _BLOCK_START.match(content)
        length = first.end() if first is not None else 0
        kept.append(source[position:start] + hide(content[:length]))
        kept.append(source[start + length : line.end()])
        position = line.end()
        if closer in content:
            break
    return position, "".join(kept)


def keep_formulas(source: str, runs: Iterable[tuple[int, int, bool]], *, is_finished: bool) -> str:
    """Put placeholders for the characters of all formulas.

    The formulas are in the runs of a parsed text: where each begins and ends, and whether it is quoted.
    """
    pattern = _FORMULAS if is_finished else _OPEN_FORMULAS
    kept: list[str] = []
    done = 0
    for begin, end, is_quoted in runs:
        for found in pattern.finditer(source, begin, end):
            if found["formula"] is None:
                continue
            kept += source[done : found.start()], _protected(found["formula"], is_quoted=is_quoted)
            done = found.end()
    return "".join(kept) + source[done:] if kept else source


def _protected(formula: str, *, is_quoted: bool) -> str:
    if "\n" not in formula and "\r" not in formula:
        return hide(formula)
    # Blanks at the end of a line would break it.
    formula = _LINE_END_BLANKS.sub(lambda blanks: blanks.group().translate(_PLACEHOLDERS), formula)
    if not is_quoted:
        return hide(formula)
    kept: list[str] = []
    for number, line in enumerate(formula.splitlines(keepends=True)):
        prefix = _QUOTATION.match(line) if number else None
        length = prefix.end() if prefix is not None else 0
        kept.append(line[:length] + hide(line[length:]))
    return "".join(kept)
