"""Inert values: they stand for the objects that a pickle would make, and can do nothing."""

from typing import Any, NamedTuple

__all__ = ["FrozenItems", "Global", "Inert", "Items", "Pairs", "text_keys"]


class Global(NamedTuple):
    """The name of a class or a function, which is not imported."""

    module: str
    name: str


class Pairs(list[tuple[Any, Any]]):
    """The keys and values of a dict."""


class Items(list[Any]):
    """The items of a set."""


class FrozenItems(list[Any]):
    """The items of a frozenset."""


class Inert:
    """The result of a call that was not made.

    :ivar func: the class or the function to call, a `Global` in most pickles.
    :ivar args: its arguments, a tuple in most pickles.
    :ivar state: the object's state, None if the pickle gives none.
    :ivar items: the items added afterwards: of a list, or the pairs of a dict.
    """

    __slots__ = ("args", "func", "items", "state")

    def __init__(self, func: Any, args: Any, state: Any = None) -> None:
        self.func = func
        self.args = args
        self.state = state
        self.items: list[Any] = []


def text_keys(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Make a dict of the pairs whose keys are texts; a later pair replaces an earlier one."""
    return {key: value for key, value in pairs if type(key) is str}
