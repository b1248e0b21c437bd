"""Recognise images by their content. Nothing is decoded: the signature, the header and the end are enough."""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

MAX_LOGO_BYTES: Final = 100 * 1024
"""Two logos and the other fields must fit into a request to the admin."""
MAX_LOGO_PIXELS: Final = 2_000

_PNG_START: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
# The markers of frame headers. C4, C8 and CC are in the same range but mean something else.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Image:
    """An image of a type that every browser can show and that can't contain scripts."""

    content_type: str
    width: int
    height: int
    data: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def read_image(data: bytes) -> Image | None:
    """Return a PNG, JPEG or WebP image, or None for anything else, including a file with something after the image."""
    for content_type, size_of in (
        ("image/png", _size_of_png),
        ("image/jpeg", _size_of_jpeg),
        ("image/webp", _size_of_webp),
    ):
        try:
            size = size_of(data)
        except (IndexError, struct.error):
            continue
        if size is not None and all(size):
            return Image(content_type, *size, data)
    return None


def _size_of_png(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(_PNG_START) or not data.endswith(_PNG_END):
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(_JPEG_START) or not data.endswith(_JPEG_END):
        return None
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # A fill byte.
            position += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    return None


def _size_of_webp(data: bytes) -> tuple[int, int] | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or struct.unpack_from("<I", data, 4) != (len(data) - 8,):
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
