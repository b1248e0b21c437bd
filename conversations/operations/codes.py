"""Codes and numbers that people read out, copy by hand and type."""

from django.utils.crypto import get_random_string

LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without letters and digits that are taken for each other, and without U, which makes words."""


def make_code(length: int) -> str:
    """Return so many letters and digits at random; each is worth 4.9 bits."""
    return get_random_string(length, LETTERS)
