"""The errors of states that may not be unpickled."""

from ...run_times import UnreadableError

__all__ = ["UnknownKeyError", "UntrustedError"]


class UntrustedError(UnreadableError):
    """Says why a state may not be unpickled, or its job may not run."""


class UnknownKeyError(UntrustedError):
    """The signature names a key that this store doesn't have.

    :ivar retry_seconds: when the store may ask for its keys again, in seconds from now; 0 if it has
        just asked.
    """

    def __init__(self, key_id: str, retry_seconds: float) -> None:
        shown = ascii(key_id[:16])[1:-1]  # anybody may have written it
        super().__init__(f"its signature is by the unknown key {shown}")
        self.retry_seconds = retry_seconds
