"""Codes that people read aloud, copy by hand and type."""

from django.utils.crypto import get_random_string

LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Leaves out letters and digits that are easily confused, and U, which could form words."""


def make_code(length: int) -> str:
    """Return a random code of this length. Each character adds 4.9 bits of entropy."""
    return get_random_string(length, LETTERS)
