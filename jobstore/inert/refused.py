"""The error of pickles that are read well, but do what a restricted unpickler can't check."""

from ..run_times import UnreadableError

__all__ = ["RefusedError"]


class RefusedError(UnreadableError):
    """Says what a pickle does that no state of a job has to do."""
