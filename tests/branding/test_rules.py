"""Images are recognised by their content."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.branding.rules import read_image

from .images import GIF, JPEG, PNG, SVG, WEBP, WEBP_EXTENDED, WEBP_LOSSLESS, make_png

IMAGES = {
    "png": (PNG, "image/png"),
    "jpeg": (JPEG, "image/jpeg"),
    "webp": (WEBP, "image/webp"),
    "lossless webp": (WEBP_LOSSLESS, "image/webp"),
    "extended webp": (WEBP_EXTENDED, "image/webp"),
}


@pytest.mark.parametrize(("data", "content_type"), IMAGES.values(), ids=IMAGES)
def test_the_type_and_the_size_come_from_the_content(data: bytes, content_type: str) -> None:
    image = read_image(data)
    assert image is not None
    assert (image.content_type, image.width, image.height) == (content_type, 3, 2)


@pytest.mark.parametrize("data", [b"", SVG, GIF, b"<html>", make_png(0, 2)])
def test_nothing_else_is_an_image(data: bytes) -> None:
    assert read_image(data) is None


@pytest.mark.parametrize(("data", "_type"), IMAGES.values(), ids=IMAGES)
def test_an_image_must_be_whole_and_alone_in_its_file(data: bytes, _type: str) -> None:
    assert read_image(data + SVG) is None
    assert [length for length in range(len(data)) if read_image(data[:length])] == []


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([data for data, _type in IMAGES.values()]), st.data())
def test_a_damaged_header_causes_no_error(data: bytes, drawn: st.DataObject) -> None:
    position = drawn.draw(st.integers(0, len(data) - 1))
    changed = data[:position] + drawn.draw(st.binary(max_size=8)) + data[position + 1 :]
    image = read_image(changed)
    assert image is None or image.data == changed
