"""Reads a job's pickled state without running anything of it."""

from typing import TYPE_CHECKING, Any

from .._index import backend
from ..run_times import UnreadableError
from .machine import MAX_STEPS
from .values import Pairs, text_keys

if TYPE_CHECKING or backend == "python":
    from ._reader_py import run
else:
    from .._inert_c import run

__all__ = ["read", "read_state"]


def read_state(state: bytes) -> dict[str, Any]:
    """Read a job's pickled state; O(length), 0.2 µs for each operation of the pickle.

    >>> import pickle
    >>> read_state(pickle.dumps({"id": "report", "coalesce": True}))
    {'id': 'report', 'coalesce': True}

    :raises UnreadableError: if it is no pickle of a dict, or takes more than a million operations.
    """
    value = read(state)
    if type(value) is not Pairs:
        raise UnreadableError("its state is not that of a job")
    return text_keys(value)


def read(state: bytes, seen: list[Any] | None = None) -> Any:
    """Read a pickle into inert values; O(length).

    :param seen: gets each `Global` and each `Inert` as it is made, and each state of an object.
    :raises UnreadableError: if it is no pickle, or takes more than a million operations.
    """
    try:
        return run(state if type(state) is bytes else bytes(state), MAX_STEPS, seen)
    except UnreadableError:
        raise
    except (IndexError, KeyError):
        raise UnreadableError("its state is truncated or damaged") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UnreadableError(f"its state is damaged: {str(error)[:200]}") from None
