"""Checks the store's arguments."""

from typing import Literal

__all__ = [
    "check_arguments",
    "check_catch_up",
    "check_history",
    "check_others",
    "check_trust",
    "spread_seconds",
]

DAY = 86_400
YEAR = 366 * DAY
SPREAD = "spread:"


def check_arguments(
    database: str,
    collection: str,
    batch_size: int,
    unreadable: Literal["quarantine", "remove"],
    mirror: bool | Literal["exclusive"],
    watch: bool | float,
    shared: bool,
    lease: float,
) -> None:
    """Refuse arguments that the store can't use.

    :raises ValueError: names the first such argument, its value, and the values allowed.
    """
    for name, value in (("database", database), ("collection", collection)):
        if not value:
            raise ValueError(f'The "{name}" parameter must not be empty')
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}: it must be a whole number from 1 on")
    if unreadable not in ("quarantine", "remove"):
        raise ValueError(f'unreadable is {unreadable!r}: it must be "quarantine" or "remove"')
    if mirror not in (False, True, "exclusive"):
        raise ValueError(f'mirror is {mirror!r}: it must be True, False or "exclusive"')
    if not isinstance(watch, bool) and not _is_number(watch, 0):
        raise ValueError(f"watch is {watch!r}: it must be True, False or a number of seconds")
    if shared not in (False, True):
        raise ValueError(f"shared is {shared!r}: it must be True or False")
    if shared and mirror:
        raise ValueError(f"shared is True and mirror is {mirror!r}: a store can't be both")
    if isinstance(lease, bool) or not _is_number(lease, 0) or not 1 <= lease <= DAY:
        raise ValueError(f"lease is {lease!r}: it must be a number of seconds, 1 to {DAY}")


def check_catch_up(catch_up: str, overdue: float) -> None:
    """Refuse arguments of catching up that the store can't use.

    :raises ValueError: names the first such argument, its value, and the values allowed.
    """
    if catch_up not in ("fire", "skip", "hold") and spread_seconds(catch_up) is None:
        raise ValueError(
            f'catch_up is {catch_up!r}: it must be "fire", "skip", "hold", or "spread:" with a '
            f'number of seconds, above 0 and up to {YEAR}, as in "spread:600"'
        )
    if isinstance(overdue, bool) or not (overdue == 0 or _is_number(overdue, 0)):
        raise ValueError(f"overdue is {overdue!r}: it must be a number of seconds, from 0 on")


def check_others(others: str, shared: bool, mirror: bool | str) -> None:
    """Refuse a value of `others` that the store can't use.

    :raises ValueError: names the value, and the values allowed.
    """
    if others == "wait" and mirror == "exclusive":
        raise ValueError(
            'others is "wait" and mirror is "exclusive": a standby may write to the collection, so '
            "say mirror=True"
        )
    if others not in ("warn", "refuse", "wait"):
        raise ValueError(f'others is {others!r}: it must be "warn", "refuse" or "wait"')
    if shared and others != "warn":
        raise ValueError(f"shared is True and others is {others!r}: schedulers that share all fire")


def check_history(history: str | None, keep: float) -> None:
    """Refuse arguments of the history that the store can't use.

    :raises ValueError: names the first such argument, its value, and the values allowed.
    """
    if history not in (None, "problems", "all"):
        raise ValueError(f'history is {history!r}: it must be None, "problems" or "all"')
    if isinstance(keep, bool) or not _is_number(keep, 0) or not 1 <= keep <= 10 * YEAR:
        raise ValueError(f"keep is {keep!r}: it must be a number of seconds, 1 to {10 * YEAR}")


def check_trust(unsigned: str, allow: object) -> None:
    """Refuse arguments of trust that the store can't use; `Keys` checks the keys.

    :raises ValueError: names the first such argument, its value, and the values allowed.
    """
    if unsigned not in ("quarantine", "run"):
        raise ValueError(f'unsigned is {unsigned!r}: it must be "quarantine" or "run"')
    is_list = isinstance(allow, list | tuple) and all(map(_is_text, allow))
    if allow is not None and not is_list:
        raise ValueError(
            f'allow is {allow!r}: it must be None or a list of patterns, such as ["myapp.*"]'
        )


def spread_seconds(catch_up: object) -> float | None:
    """Return the seconds of ``"spread:<seconds>"``; None for any other value."""
    if not isinstance(catch_up, str) or not catch_up.startswith(SPREAD):
        return None
    try:
        seconds = float(catch_up.removeprefix(SPREAD))
    except ValueError:
        return None
    return seconds if 0 < seconds <= YEAR else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: object, above: float) -> bool:
    return isinstance(value, int | float) and above < value < float("inf")
