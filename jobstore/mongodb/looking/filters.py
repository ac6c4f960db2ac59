"""Makes the server's filters from the conditions of a search."""

from datetime import datetime
from typing import Any

from ...where import Where, in_utc
from ..about_field import storable
from ..documents import END_OF_TIME, MIN_TIME, Document, timestamp
from ..ordered import VALID_RUN_TIME
from ..writes.quarantine import INVALID_TIME

__all__ = ["all_of", "at_times", "by_id", "counted", "due", "untimed"]

IS_NULL: Document = {
    "next_run_time": {"$type": "null", "$not": {"$type": "array"}}
}  # an index range
# Ranges of the index, as those of `INVALID_TIME`. Decimals among the run times, and lists of such
# numbers, have none: to find them, the server would have to read all jobs.
UNTIMED: Document = {"$or": [IS_NULL, *INVALID_TIME["$or"]]}
LACKS_TIME_FIELD: Document = {"next_run_time": {"$exists": False}}
# The type of a list's items counts as its own.
IS_MARKED: Document = {"quarantine": {"$type": "object", "$not": {"$type": "array"}}}
IS_UNMARKED: Document = {"$nor": [IS_MARKED]}
NOTHING: Document = {"_id": {"$in": []}}
LAST_CHARACTER = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)


def all_of(*filters: Document) -> Document:
    """Combine filters, all of which have to match."""
    present = [each for each in filters if each]
    return {"$and": present} if present else {}


def at_times(times: Any) -> Document:
    """Return the filter for run times; `times` is one, or the operators of a range.

    Decimals and lists are no run times, but the server compares them with numbers, too.
    """
    return {"next_run_time": times, "$nor": [{"next_run_time": {"$type": ["decimal", "array"]}}]}


TIMED = at_times(VALID_RUN_TIME)


def texts(where: Where) -> Document:
    """Return the filter for a job's id and texts.

    A document without valid texts matches as well: its state has to be read.
    """
    filters: list[Document] = []
    if where.id_prefix is not None:
        filters.append(_prefix(where.id_prefix))
    for name in ("func", "name", "executor", "trigger"):
        text = getattr(where, name)
        if text is not None:
            text = storable(text)
            allowed = [None] if text is None else [text, None]
            filters.append({f"about.{name}": {"$in": allowed}})
    if where.tag is not None:
        filters.append(NOTHING if storable(where.tag) is None else {"about.tags": where.tag})
    return all_of(*filters)


def states(where: Where) -> Document:
    """Return the filter for pause and quarantine; without a field `next_run_time` a job is paused.

    Only jobs without a run time can be paused or in quarantine.
    """
    filters: list[Document] = []
    if where.quarantined is not None:
        filters.append(_quarantined(where.quarantined))
    if where.paused is not None:
        filters.append(_paused(where.paused))
    return all_of(*filters)


def by_id(where: Where) -> Document:
    """Return the filter of a search in order of id."""
    return all_of(texts(where), states(where))


def due(where: Where, times: Any) -> Document:
    """Return the filter for jobs with these run times, in a search in order of time.

    :param times: a run time, or the operators of a range.
    """
    if where.paused or where.quarantined:
        return NOTHING
    return all_of(at_times(times), texts(where))


def _quarantined(is_quarantined: bool) -> Document:
    if is_quarantined:  # by the index on `quarantine.since`
        return all_of({"quarantine.since": {"$exists": True}}, IS_MARKED, {"$nor": [TIMED]})
    return {"$or": [IS_UNMARKED, TIMED]}


def _paused(is_paused: bool) -> Document:
    paused = all_of({"$or": [IS_NULL, LACKS_TIME_FIELD]}, IS_UNMARKED)
    return paused if is_paused else {"$nor": [paused]}


def _prefix(prefix: str) -> Document:
    """Return the range of the ids that begin with a prefix."""
    if storable(prefix) is None:
        return NOTHING
    end = _next_text(prefix)
    # Without an end, the range has all strings from the prefix on.
    return {"_id": {"$gte": prefix} if end is None else {"$gte": prefix, "$lt": end}}


def _next_text(text: str) -> str | None:
    """Return the first text after all that begin with this one; None if there is none."""
    text = text.rstrip(chr(LAST_CHARACTER))
    if not text:
        return None
    code = ord(text[-1]) + 1
    return text[:-1] + chr(SURROGATES.stop if code in SURROGATES else code)


def bounds(where: Where) -> tuple[float, float]:
    """Return the first run time that is searched, and the one before which the search ends."""
    first = MIN_TIME if where.due_after is None else _seconds(where.due_after)
    end = END_OF_TIME if where.due_before is None else _seconds(where.due_before)
    return first, end


def _seconds(time: datetime) -> float:
    try:
        seconds: float = timestamp(in_utc(time))
    except OverflowError:  # a zone shifts it out of the years 1 to 9999
        seconds = MIN_TIME if time.year < 5000 else END_OF_TIME
    return seconds


def untimed(where: Where) -> Document:
    """Return the filter for jobs without a run time, in a search in order of time."""
    if where.due_after is not None or where.due_before is not None:
        return NOTHING
    return all_of(IS_NULL if where.paused else UNTIMED, by_id(where))


def counted(where: Where) -> Document:
    """Return the filter for all jobs that a search pages over."""
    if not where.is_by_time:
        return by_id(where)
    if where.due_after is None and where.due_before is None:
        return all_of(IS_NULL if where.paused else {"$or": [TIMED, UNTIMED]}, by_id(where))
    first, end = bounds(where)
    return due(where, {"$gte": first, "$lt": end})
