"""Run the same work many times at once, each in its own thread with its own database connection."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connection


def at_once(number: int, work: Callable[[int], bool]) -> int:
    """Run `work` this many times at once, and return how often it succeeded."""

    def attempt(index: int) -> bool:
        try:
            return work(index)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(attempt, range(number)))
