"""How many web processes the site runs."""

MAX_PROCESSES = 8
"""How many processes `auto` starts at most. Each can use ten connections to the database."""

AUTO = "auto"


def process_count(
    wanted: str, *, cores: int, can_share: bool, uses_demo_model: bool, has_local_database: bool
) -> int:
    """Return the number of web processes for the setting PROCESSES: a number, or `auto`.

    With `auto`, there is one for each core if they can share their updates. One core is left to a database on this
    machine, and all but one to the demo model.
    """
    if wanted != AUTO:
        return int(wanted)
    if uses_demo_model or not can_share:
        return 1
    return max(1, min(cores - has_local_database, MAX_PROCESSES))


def environments(count: int, *, uses_demo_model: bool) -> list[dict[str, str]]:
    """Return what each web process gets in addition to the environment.

    Each runner starts a demo model of its own, so with the demo model only the first process has one.
    """
    others = {"GENERATION_RUNNER": "worker"} if uses_demo_model else {}
    return [{}, *[others] * (count - 1)]
