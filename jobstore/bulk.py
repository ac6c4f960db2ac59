"""`add_jobs`: a scheduler's `add_job` for many jobs."""


def add_jobs() -> None:
    """Not written yet."""
