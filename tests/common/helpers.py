"""Texts of Markdown in all mixtures, a page that shows them as they stream, and what its HTML may contain."""

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

from conversations.common.rendering.markdown import MarkdownUpdate

FRAGMENTS = [
    *(
        "foo ",
        "bar *b* ",
        "**bo",
        "ld** ",
        "_i_",
        "~~s~~",
        "`c` ",
        '"q" ',
        "it's ",
        "word, ",
        "日本",
        "é",
        "🙂",
        "\u2028",
        "\u200b",
    ),
    *(
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\t",
        "  ",
        "\\",
        "\x00",
        "1",
        "2. ",
        "x\n",
        "\\(a_1*b*",
        "\\) ",
        "\\[\n",
        "\\\\ ",
        "\\]",
        "$x*y*",
        "$ ",
        "$$\n",
        "שלום ",
        "مرحبا.",
        "&amp; ",
        "&",
        "<b>",
        "<",
        ">",
        "\xa0",
    ),
    *(
        "# H ",
        "===\n",
        "---\n",
        "***\n",
        "> q ",
        "- item ",
        "* star\n",
        "1. one\n",
        "  - nest\n",
        "+ ",
        "[ ] ",
    ),
    *(
        "```\n",
        "```py\n",
        "~~~\n",
        "    code\n",
        "a | b\n",
        "--|:-:\n",
        "[x](https://e.f) ",
        "[x](",
        "![i](https://i.j/p.png)",
    ),
    *(
        "<https://a.b>",
        "[a][b]",
        "<script>",
        "</div>",
        "- long item " * 9 + "\n",
        "text of a list item\n" * 3,
    ),
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def chunks(text: str, lengths: list[int]) -> list[str]:
    pieces, at, turn = [], 0, 0
    while at < len(text):
        pieces.append(text[at : at + lengths[turn % len(lengths)]])
        at += lengths[turn % len(lengths)]
        turn += 1
    return pieces


class Page:
    """The element that holds the open part, updated as a page does: by replacing it or appending to its last element."""

    def __init__(self) -> None:
        self.html = ""

    def apply(self, update: MarkdownUpdate) -> None:
        change = update.change
        path = self._path()[: change.depth]
        assert len(path) == change.depth
        begin, end = path[-1] if path else (0, len(self.html))
        kept = self.html[begin:end] if change.is_addition else ""
        self.html = self.html[:begin] + kept + change.html + self.html[end:]

    def _path(self) -> list[tuple[int, int]]:
        """Return where the contents of the last element, of its last child, and so on, begin and end."""
        path: list[tuple[int, int]] = []
        level = 0
        for tag in re.finditer(r"<(/?)(\w+)[^>]*>", self.html):
            if tag[1]:
                level -= 1
                path[level] = (path[level][0], tag.start())
            else:
                path[level:] = [(tag.end(), tag.end())]
                level += tag[2] not in {"br", "hr"}
        return path


def without_blanks(html: str) -> str:
    return re.sub(r"\s+", "", html)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(html: str) -> _Text:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return parser


def text_of(html: str) -> str:
    return read(html).text


HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "<svg/onload=alert(1)>",
    "<math><mtext></p><script>alert(1)</script>",
    '<meta http-equiv="refresh" content="0;url=//evil">',
    '<a href="/" hx-get="/evil" hx-trigger="load">x</a>',
    '<hx-partial hx-target="body">x</hx-partial>',
    '</hx-partial><script>alert(1)</script><hx-partial hx-target="#text">',
    "<!-- --><script>alert(1)</script>",
    "![x](https://evil.example/p.png)",
    '![x](https://evil.example/p.png "t")',
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,AAAA)",
    "[![x](https://evil.example/p.png)](https://evil.example/)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1))",
    "[x](vbscript:x)",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](//evil.example/)",
    "[x](/\\evil.example)",
    "[x](https:/\\evil.example)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    '```html" onload="alert(1)\nx\n```',
    "    </code></pre><script>alert(1)</script>",
    "`</code><script>alert(1)</script>`",
    '[x](https://a.b/"onmouseover="alert(1))',
    "[x](https://a.b/ '\" onclick=alert(1) ')",
    "| a<script> | b |\n|--|--|\n| <img src=x onerror=alert(1)> | x |",
    '<div id="text" class="composer" style="position:fixed">x</div>',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<scr\x00ipt>alert(1)</script>",
]
TAGS = {
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
}
ATTRIBUTES = {"href", "title", "target", "rel", "class", "start", "type", "data-copy", "tabindex", "dir"}


def assert_harmless(html: str) -> None:
    for tag, attributes in read(html).tags:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES
        assert attributes.get("dir", "auto") == (
            "ltr" if tag in {"code", "div"} and "dir" in attributes else "auto"
        )
        if "href" in attributes:
            assert re.match(r"(?i)https?://[^/\\]|mailto:", attributes["href"] or "")
            assert attributes["rel"] == "noopener noreferrer nofollow ugc"
            assert attributes["target"] == "_blank"
    assert "<hx-" not in html
