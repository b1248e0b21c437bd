"""The base class of all refusals."""

from django.utils.functional import Promise


class Refused(Exception):
    """A request was refused. The message is shown to the user, and says why and what to do.

    Entry points catch this class. Derive from it only if a subclass has to be handled differently.
    """

    def __init__(self, message: str | Promise) -> None:
        super().__init__(str(message))
