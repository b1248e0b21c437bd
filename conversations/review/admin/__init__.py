"""The review in Django admin. Importing this package registers its pages."""

from . import cases, records, tracing

__all__ = ["cases", "records", "tracing"]
