"""Classes and functions that the states of ordinary jobs name: they say nothing about a job."""

from ..mongodb.trust.always import FRESH, PLAIN

__all__ = ["is_ordinary"]

# Whatever the arguments, these make plain values, objects of the classes here, and zones.
HARMLESS = {
    "_codecs:encode",
    "builtins:bytearray",
    "builtins:bytes",
    "copyreg:_reconstructor",
    "pytz:FixedOffset",
    "pytz:_UTC",
    "pytz:_p",
    "zoneinfo:ZoneInfo",
    "zoneinfo:ZoneInfo._unpickle",
}
ORDINARY = HARMLESS | {":".join(name) for name in FRESH | PLAIN}


def is_ordinary(name: str) -> bool:
    """Whether a name is that of APScheduler's own triggers, of plain values, of times, or of zones.

    `getattr` isn't: `names_in` names it only where more than a zone needs it.
    """
    return name in ORDINARY
