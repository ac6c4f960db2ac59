"""Refuses the states and functions that name any class or function that isn't allowed.

Nothing that isn't allowed is imported or called, also while that is found out.
"""

import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Sequence
from enum import Enum
from fnmatch import translate
from importlib import import_module
from io import BytesIO
from pickle import Unpickler
from sys import audit
from typing import Any

from apscheduler.job import Job

from ...inert.changes import changes
from ...inert.refused import RefusedError
from ...run_times import UnreadableError
from .always import COMBINING, FRESH, NARROW, PLAIN, WIDE
from .combining import checked, combining_become_stock, is_combining
from .resolving import Resolver, bases, is_class, name_of, shown
from .untrusted import UntrustedError

__all__ = ["Allowed"]


class Allowed:
    """Unpickles states, and checks functions, by patterns of the names that they may have.

    A pattern must match the name that a class or function has itself, whatever name leads to it:
    ``myapp.jobs:time.sleep`` leads to ``time:sleep``. A state may always name what APScheduler's
    own triggers and zones need.

    >>> allowed = Allowed(["myapp.*"])
    >>> allowed.check_func("myapp.jobs:send")
    >>> allowed.check_func("os:system")
    UntrustedError: it names os:system (posix:system), which allow doesn't match

    :param patterns: of ``module:qualname``, as for `fnmatch.fnmatchcase`.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.matches = re.compile("|".join(map(translate, patterns)) or r"(?!)").match
        self.resolver = Resolver(self.matches)
        self._checked: dict[Any, Any] = {}  # classes of combining triggers

    def loads(self, state: bytes) -> Any:
        """Unpickle a state, as `pickle.loads`; O(length).

        :raises UntrustedError: if the state names a class or function that isn't allowed, or calls
            an allowed one of Python's as no pickle does; if it changes a class, a function, or
            anything else that it did not make itself; if it names any by an extension code.
        :raises UnreadableError: if the state is damaged.
        :raises Exception: of the allowed classes and functions.
        """
        state = state if type(state) is bytes else bytes(state)
        try:
            loading = Loading(self, state)
        except RefusedError as error:
            raise UntrustedError(str(error)) from None
        with combining_become_stock():
            return loading.load()

    def load_job(self, state: bytes) -> dict[str, Any]:
        """Unpickle the state of a job, and check the job's function.

        :raises UnreadableError: if that is no state of a job.
        :raises Exception: as `loads` and `check_func`.
        """
        loaded = self.loads(state)
        # An object of another class could name another function each time.
        if type(loaded) is not dict or any(type(key) is not str for key in loaded):
            raise UnreadableError("its state is not that of a job")
        self.check_func(loaded["func"])
        return loaded

    def check_func(self, ref: object) -> None:
        """Check the text ``module:qualname`` of a job's function; O(length).

        Afterwards, APScheduler imports and calls nothing else when it looks the function up.

        :raises UntrustedError: if the function isn't allowed, or isn't found.
        :raises LookupError: if its module can't be imported, as APScheduler.
        """
        if not callable(self.resolver.referred(ref)):
            raise UntrustedError(f"it names {shown(str(ref))}, which can't be called")

    def trigger_class(self, ref: object) -> Any:
        """Return the class that a combining trigger's state names by a text.

        :raises UntrustedError: if it isn't allowed, or isn't found.
        """
        if type(ref) is str and (key := tuple(ref.split(":"))) in FRESH:
            return fresh(key)
        return self.resolver.referred(ref)

    def checked(self, cls: Any) -> Any:
        """Return the subclass of a class of combining triggers that checks its state."""
        if cls not in self._checked:
            self._checked[cls] = checked(cls, self.trigger_class)
        return self._checked[cls]


class Loading(Unpickler):
    """Unpickles one state.

    :raises UnreadableError: as `Allowed.loads`.
    """

    def __init__(self, allowed: Allowed, state: bytes) -> None:
        super().__init__(BytesIO(state))
        self._changed = iter(changes(state))  # for each name, whether it changes calls' results
        self._allowed = allowed
        self._has_old_names = state[:1] != b"\x80" or state[1] < 3

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function of that name, if it is allowed."""
        is_changed = next(self._changed)
        if self._has_old_names:
            module, name = new_name(module, name)
        found = self._find((module, name), is_changed)
        audit("pickle.find_class", module, name)  # as the method that this one overrides
        return found

    def _find(self, key: tuple[str, str], is_changed: int) -> Any:
        """Return the class or function of a name of Python 3."""
        if key in FRESH:
            found = fresh(key)
            return self._allowed.checked(found) if key in COMBINING else found
        if key in PLAIN_CLASSES or key in NARROW:
            return self._narrow(key, is_changed)
        found = self._allowed.resolver.resolve(*key)
        if any(each is Job for each in bases(found)):  # it imports the function of its state
            raise UntrustedError(f"it names {':'.join(key)}: a state may not have jobs within it")
        if is_combining(found):
            return self._allowed.checked(found)
        return changeable(found, self._allowed.matches, ":".join(key)) if is_changed else found

    def _narrow(self, key: tuple[str, str], is_changed: int) -> Any:
        """Return a class of plain values; for another name, what stands for it, or itself.

        It is itself if a pattern matches it.
        """
        text = ":".join(key)
        if is_changed and key != RECONSTRUCTOR:
            raise UntrustedError(f"it changes the result of {text}")
        if key in PLAIN_CLASSES:
            return PLAIN_CLASSES[key]
        if not is_changed and "." not in key[1] and self._allowed.matches(text):
            return WIDE.get(key) or self._allowed.resolver.resolve(*key)
        return NARROW[key]


RECONSTRUCTOR = ("copyreg", "_reconstructor")
PLAIN_CLASSES = {name: getattr(import_module(name[0]), name[1]) for name in PLAIN}
fresh_classes: dict[tuple[str, ...], Any] = {}


def fresh(key: tuple[str, ...]) -> Any:
    """Return a class of APScheduler's."""
    found = fresh_classes.get(key)
    if found is None:
        found = fresh_classes[key] = getattr(import_module(key[0]), key[1])
    return found


def new_name(module: str, name: str) -> tuple[str, str]:
    """Return a name as Python 3 has it; protocols 0 to 2 write those of Python 2."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name


def changeable(found: Any, matches: Callable[[str], object], text: str) -> Any:
    """Return a callable whose result the pickle may give a state or items.

    :raises UntrustedError: if it is a class whose objects others share.
    """
    if not is_class(found):
        return Making(found, matches, text)
    if issubclass(found, Enum | type):
        raise UntrustedError(f"it changes an object of {shown(text)}, which others share")
    return found


class Making:
    """Calls a function, whose result is then changed.

    :param func: the function.
    :param matches: whether a name is allowed.
    :param text: the function's name.
    """

    __slots__ = ("_func", "_matches", "_text")

    def __init__(self, func: Any, matches: Callable[[str], object], text: str) -> None:
        self._func, self._matches, self._text = func, matches, text

    def __call__(self, *args: Any) -> Any:
        """Call the function.

        :raises UntrustedError: if it returns an object of a class that isn't allowed, such as a
            class, a module or a dict: others may hold it.
        """
        made = self._func(*args)
        own = name_of(type(made))
        is_shared = is_class(made) or isinstance(made, Enum)
        if own is None or is_shared or not self._matches(":".join(own)):
            raise UntrustedError(f"it changes the result of {shown(self._text)}")
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a stand-in can't be pickled")
