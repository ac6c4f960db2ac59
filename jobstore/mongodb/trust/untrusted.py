"""The errors of states that may not be unpickled."""

from ...run_times import UnreadableError

__all__ = ["UnknownKeyError", "UntrustedError"]


class UntrustedError(UnreadableError):
    """Says why a state may not be unpickled, or its job may not run."""


class UnknownKeyError(UntrustedError):
    """The signature names a key that this store doesn't have."""

    def __init__(self, key_id: str) -> None:
        shown = ascii(key_id[:16])[1:-1]  # anybody may have written it
        super().__init__(f"its signature is by the unknown key {shown}")
