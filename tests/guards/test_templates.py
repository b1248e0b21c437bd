"""Templates contain nothing that the Content-Security-Policy forbids, such as inline scripts and styles."""

import re

import pytest

from tests.guards.project import files, name

FORBIDDEN = {
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "an inline style": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"\sstyle\s*=", re.IGNORECASE),
    "an event attribute": re.compile(r"\son[a-z]+\s*=", re.IGNORECASE),
    "an htmx event attribute": re.compile(r"\s(data-)?hx-on\b", re.IGNORECASE),
    "htmx code": re.compile(r"\s(data-)?hx-(vals|headers|vars)\s*=\s*[\"'](js|javascript):", re.IGNORECASE),
    "an htmx trigger filter": re.compile(r"\shx-trigger\s*=\s*\"[^\"]*\[[^\"]*\"", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "a file from another site": re.compile(
        r"<(script|link|img|iframe)\b[^>]*\s(src|href)=\"(https?:)?//", re.IGNORECASE
    ),
    # Django itself writes the help text of a form field as HTML. Other code marks HTML as safe where it is created.
    "text marked as safe": re.compile(r"(?<!field\.help_text)\|\s*safe\b|\{%\s*autoescape\s+off"),
}
COMMENTS = re.compile(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}|<!--.*?-->", re.DOTALL)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_templates_contain_nothing_forbidden(what: str) -> None:
    templates = list(files("templates", suffixes={".html"}))
    assert templates
    found = [
        name(path) for path in templates if FORBIDDEN[what].search(COMMENTS.sub("", path.read_text("utf-8")))
    ]
    assert not found


@pytest.mark.parametrize(
    ("what", "markup"),
    [
        ("an inline script", "<script>let a</script>"),
        ("an inline style", "<style media=print>"),
        ("a style attribute", '<p style="color: red">'),
        ("an event attribute", '<a\nonclick="go()">'),
        ("an htmx event attribute", '<p hx-on:click="go()">'),
        ("htmx code", "<p hx-vals='js:{a: b()}'>"),
        ("an htmx trigger filter", '<p hx-trigger="click[ctrlKey]">'),
        ("a javascript: address", '<a href="JavaScript:go()">'),
        ("a file from another site", '<img alt="" src="//example.org/a.png">'),
        ("text marked as safe", "{{ text|safe }}"),
    ],
)
def test_forbidden_markup_is_recognised(what: str, markup: str) -> None:
    assert FORBIDDEN[what].search(markup)


REVIEW = re.compile(r"['\"]review/|\{% url ['\"](report|conversations_review)", re.IGNORECASE)


def test_other_pages_use_the_review_only_through_its_tags() -> None:
    own = ("templates/review/", "templates/admin/")
    pages = [path for path in files("templates", suffixes={".html"}) if not name(path).startswith(own)]
    assert len(pages) > 20
    found = [name(path) for path in pages if REVIEW.search(COMMENTS.sub("", path.read_text("utf-8")))]
    assert not found, "Use or add a tag in conversations/review/templatetags/review.py."
