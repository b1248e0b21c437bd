"""How many web processes the site runs."""

MAX_PROCESSES = 8
"""How many processes `auto` starts at most. Each can use ten connections to the database."""

AUTO = "auto"


def process_count(wanted: str, *, cores: int, can_share: bool, uses_demo_model: bool) -> int:
    """Return the number of web processes for the setting PROCESSES: a number, or `auto`.

    With `auto`, there is one for each core if they can share their updates. The demo model needs the cores itself.
    """
    if wanted != AUTO:
        return int(wanted)
    return min(cores, MAX_PROCESSES) if can_share and not uses_demo_model else 1
