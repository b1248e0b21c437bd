r"""Keep mathematical formulas as they were written, because Markdown would take their backslashes and asterisks away.

Formulas are `\(…\)` and `$…$` in a line, and `\[…\]` and `$$…$$`. None contains a blank line.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

# A dollar sign often means money. So it starts or ends a formula only if nothing but the formula touches it.
_FORMULA = re.compile(
    r"""
      \\\( (?:[^\\] | \\[^()\[\]])*+ \\\)
    | \\\[ (?:[^\\] | \\[^()\[\]])*+ \\\]
    | \$\$ (?:[^$`\\] | \\.)++ \$\$
    | (?<![\w$]) \$ (?![\s$]) (?:[^$`\\\n] | \\[^\n])++ (?<!\s) \$ (?![\w$])
    """,
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED_FORMULA = re.compile(r"\\[(\[](?:[^\\]|\\[^()\[\]])*+\\?\Z")
_CLOSERS = {"\\[": "\\]", "$$": "$$"}


def keep_formulas(parser: MarkdownIt) -> None:
    """Make a parser treat formulas as plain text. Its environment says whether the text is finished."""
    others = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("reference", "formula", _formula_paragraph, {"alt": others})
    parser.inline.ruler.before("escape", "formula", _formula)


def _formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    found = _FORMULA.match(state.src, state.pos, state.posMax)
    if found is None and not state.env.get("finished"):
        # Its end is probably still to come, and the text should not change then.
        found = _UNFINISHED_FORMULA.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.pending += found.group()
    state.pos = found.end()
    return True


def _formula_paragraph(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Keep a formula of several lines in one paragraph, even if a line looks like a list item or a heading."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    closer = _CLOSERS.get(line[:2])
    if closer is None or closer in line[2:]:
        return False
    if silent:
        return True
    end = first + 1
    while end < last and not state.isEmpty(end) and state.sCount[end] >= state.blkIndent:
        end += 1
        if closer in _line(state, end - 1):
            break
    state.line = end
    state.push("paragraph_open", "p", 1).map = [first, end]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(first, end, state.blkIndent, False).strip(" \t\r\n")
    inline.map = [first, end]
    inline.children = []
    state.push("paragraph_close", "p", -1)
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
