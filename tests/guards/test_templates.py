"""Templates hold nothing that the Content-Security-Policy forbids: no script and no style in the page itself."""

import re

import pytest

from tests.guards.project import files, name

FORBIDDEN = {
    "a script in the page": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "a style in the page": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"\sstyle\s*=", re.IGNORECASE),
    "an event attribute": re.compile(r"\son[a-z]+\s*=", re.IGNORECASE),
    "an htmx event attribute": re.compile(r"\s(data-)?hx-on\b", re.IGNORECASE),
    "htmx code": re.compile(r"\s(data-)?hx-(vals|headers|vars)\s*=\s*[\"'](js|javascript):", re.IGNORECASE),
    "an htmx trigger filter": re.compile(r"\shx-trigger\s*=\s*\"[^\"]*\[[^\"]*\"", re.IGNORECASE),
    "a javascript address": re.compile(r"javascript:", re.IGNORECASE),
    "a file of another site": re.compile(
        r"<(script|link|img|iframe)\b[^>]*\s(src|href)=\"(https?:)?//", re.IGNORECASE
    ),
    # Django writes the help of a form field as HTML itself; anything else is made safe where it is made.
    "text taken as safe": re.compile(r"(?<!field\.help_text)\|\s*safe\b|\{%\s*autoescape\s+off"),
}
COMMENTS = re.compile(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}|<!--.*?-->", re.DOTALL)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_templates_hold_none(what: str) -> None:
    templates = list(files("templates", suffixes={".html"}))
    assert templates
    found = [
        name(path) for path in templates if FORBIDDEN[what].search(COMMENTS.sub("", path.read_text("utf-8")))
    ]
    assert not found


@pytest.mark.parametrize(
    ("what", "markup"),
    [
        ("a script in the page", "<script>let a</script>"),
        ("a style in the page", "<style media=print>"),
        ("a style attribute", '<p style="color: red">'),
        ("an event attribute", '<a\nonclick="go()">'),
        ("an htmx event attribute", '<p hx-on:click="go()">'),
        ("htmx code", "<p hx-vals='js:{a: b()}'>"),
        ("an htmx trigger filter", '<p hx-trigger="click[ctrlKey]">'),
        ("a javascript address", '<a href="JavaScript:go()">'),
        ("a file of another site", '<img alt="" src="//example.org/a.png">'),
        ("text taken as safe", "{{ text|safe }}"),
    ],
)
def test_what_is_forbidden_is_recognised(what: str, markup: str) -> None:
    assert FORBIDDEN[what].search(markup)
