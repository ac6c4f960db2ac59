"""The error of pickles that are read well, and which a restricted unpickler can't check."""

from ..run_times import UnreadableError

__all__ = ["RefusedError"]


class RefusedError(UnreadableError):
    """Names an act of a pickle that no state of a job needs."""
