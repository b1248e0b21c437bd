"""The last defence against what a model wrote: HTML goes through a strict allowlist."""

import nh3
from pygments.token import STANDARD_TYPES

from . import highlighting

_CLEANER = nh3.Cleaner(
    tags={
        *(
            "p",
            "br",
            "hr",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "blockquote",
            "ul",
            "ol",
            "li",
            "em",
            "strong",
            "s",
            "a",
        ),
        *("code", "pre", "div", "span", "button", "table", "thead", "tbody", "tr", "th", "td"),
    },
    attributes={
        "a": {"href", "title", "target", "rel"},
        "ol": {"start"},
        "button": {"type", "data-copy"},
        "pre": {"tabindex"},
        "div": {"tabindex"},
    },
    tag_attribute_values={
        **{
            tag: {"dir": {"auto"}}
            for tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "li", "table", "th", "td")
        },
        **{tag: {"dir": {"ltr"}} for tag in ("code", "div")},
    },
    allowed_classes={
        "div": {"code", "code__bar", "table"},
        "span": {
            "code__language",
            "link-host",
            *(highlighting.PREFIX + name for name in STANDARD_TYPES.values() if name),
        },
        "button": {"code__copy"},
        "th": {"align-left", "align-center", "align-right"},
        "td": {"align-left", "align-center", "align-right"},
    },
    url_schemes={"http", "https", "mailto"},
    link_rel=None,
    strip_comments=True,
)

# The sanitiser removes parts of a table that stand alone.
_AROUND = {
    "table": ("<table>", "</table>"),
    "thead": ("<table><thead>", "</thead></table>"),
    "tbody": ("<table><tbody>", "</tbody></table>"),
    "tr": ("<table><tbody><tr>", "</tr></tbody></table>"),
}


def clean(html: str) -> str:
    """Return this HTML with everything removed that isn't on the allowlist."""
    return str(_CLEANER.clean(html))


def clean_part(html: str, *, parent: str) -> str:
    """Return the sanitised content, or a part of the content, of an element with this tag."""
    if "<" not in html:
        # Text that has been escaped already.
        return html
    around = _AROUND.get(parent)
    if around is None:
        return clean(html)
    cleaned = clean(around[0] + html + around[1])
    return cleaned.removeprefix(around[0]).removesuffix(around[1])


def escape_text(text: str) -> str:
    """Return the text escaped exactly as the sanitiser would escape it."""
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text or ">" in text:
        text = text.replace("<", "&lt;").replace(">", "&gt;")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\xa0", "&nbsp;")
