"""Small images of each type."""

import base64
import struct
import zlib


def make_png(width: int, height: int) -> bytes:
    """Return a black PNG image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(width + 1) * height)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNG = make_png(3, 2)
# The others were written by Chromium. They are also 3 pixels wide and 2 high.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////////////"
    "////////2wBDAVVaWnhpeOuCguv/////////////////////////////////////////////////////////////////////////wAARCAACAAMD"
    "ASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAP/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAAAQP/xAAUEQEA"
    "AAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCIBTf/2Q=="
)
WEBP_LOSSLESS = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAkAAEAcQERGIiP4HAA==")
_frame = base64.b64decode("VlA4ICAAAABwAQCdASoDAAIAB0CWJaACdAFAAAD+5ehVHXG5uu/gAA==")[:40]
WEBP = b"RIFF" + struct.pack("<I", 4 + len(_frame)) + b"WEBP" + _frame
_extended = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\x02\0\0" + b"\x01\0\0"
WEBP_EXTENDED = b"RIFF" + struct.pack("<I", 4 + len(_extended) + len(_frame)) + b"WEBP" + _extended + _frame
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><script>alert(1)</script></svg>'
GIF = base64.b64decode("R0lGODlhAwACAIAAAAAAAP///yH5BAAAAAAALAAAAAADAAIAAAICRF4AOw==")
