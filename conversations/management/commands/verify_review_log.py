"""`manage.py verify_review_log`: prove that nothing in the review log was changed or taken away."""

import argparse
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.operations import review_log


def _end(written: str) -> tuple[int, str]:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64}|)", written.strip())
    if found is None or (found[1] == "0") != (found[2] == ""):
        raise argparse.ArgumentTypeError("this is not NUMBER:DIGEST as an earlier verification printed it")
    return int(found[1]), found[2]


class Command(BaseCommand):
    """Read the whole log, print each fault, and where it ends."""

    help = "Verify the review log. Exits with 1 where something in it was changed, inserted or deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--expect",
            type=_end,
            metavar="NUMBER:DIGEST",
            help="The end that an earlier verification printed: finds a log that was cut off since.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verified = review_log.verify(expected=options["expect"])
        for fault in verified.faults:
            self.stdout.write(f"{fault.sequence}: {fault.problem}")
        self.stdout.write(f"{verified.events}:{verified.digest}")
        if verified.faults:
            raise CommandError(f"Faults in the review log: {len(verified.faults)}")
