"""`manage.py verify_review_log`: check that no one has tampered with the review log."""

import argparse
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.review.services import review_log


def _end(written: str) -> tuple[int, str]:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64}|)", written.strip())
    if found is None or (found[1] == "0") != (found[2] == ""):
        raise argparse.ArgumentTypeError("expected NUMBER:DIGEST as printed by an earlier verification")
    return int(found[1]), found[2]


class Command(BaseCommand):
    """Verify the whole log, and print each fault and the last entry."""

    help = "Verify the review log. Exits with status 1 if any entry was changed, inserted or deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the command's options."""
        parser.add_argument(
            "--expect",
            type=_end,
            metavar="NUMBER:DIGEST",
            help="The last line printed by an earlier verification. Detects entries removed from the end since then.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verified = review_log.verify(expected=options["expect"])
        for fault in verified.faults:
            self.stdout.write(f"{fault.sequence}: {fault.problem}")
        self.stdout.write(f"{verified.events}:{verified.digest}")
        if verified.faults:
            raise CommandError(f"Faults in the review log: {len(verified.faults)}")
