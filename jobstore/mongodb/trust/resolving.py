"""Finds the object that a name stands for, and the name that the object has itself.

No code runs for that but the import of a module, where it is asked for. So attributes are read from
the dicts of modules and classes: `getattr` would run properties, metaclasses, and the functions
`__getattr__` of modules, such as imports.
"""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from .untrusted import UntrustedError

__all__ = ["Resolver", "bases", "inherited", "is_class", "name_of", "shown"]

MAX_SHOWN = 200  # characters of a name in an error

MODULE = re.compile(r"[\w-]+(\.[\w-]+)*").fullmatch
DICT_OF_MODULE: Any = vars(ModuleType)["__dict__"]
DICT_OF_CLASS: Any = vars(type)["__dict__"]
MRO_OF_CLASS: Any = vars(type)["__mro__"]
C_ATTRIBUTES = GetSetDescriptorType, MemberDescriptorType  # those of compiled classes
MISSING = object()


class Resolver:
    """Finds classes and functions, and refuses those that aren't allowed.

    :param matches: whether a text ``module:qualname`` is allowed.
    """

    def __init__(self, matches: Callable[[str], object]) -> None:
        self._matches = matches
        self._found: dict[str, Any] = {}

    def resolve(self, module: str, name: str) -> Any:
        """Return an allowed class or function.

        :raises UntrustedError: if it isn't allowed, or isn't found.
        :raises Exception: if the import of its module fails.
        """
        text = f"{module}:{name}"
        holder = sys.modules.get(module)
        known = self._found.get(text)
        if known is not None and type(holder) is ModuleType and vars(holder).get(name) is known:
            return known
        if not is_name(module, name):
            raise UntrustedError(f"it names {shown(text)}, which is no importable name")
        if holder is None:
            if not self._matches(text):
                raise not_matched(text)
            holder = import_module(module)
        found = holder
        for part in name.split("."):
            found = attribute(found, part)
            if found is MISSING:
                raise UntrustedError(f"it names {shown(text)}, which is not found")
        own = name_of(found)
        if own is None:
            raise UntrustedError(f"it names {shown(text)}, which is no class or function")
        if not self._matches(":".join(own)):
            raise not_matched(text, ":".join(own))
        if "." not in name:
            self._found[text] = found
        return found

    def referred(self, ref: object) -> Any:
        """Return the class or function that APScheduler will find by a text.

        :raises UntrustedError: if it isn't allowed, or isn't found.
        :raises LookupError: if its module can't be imported.
        """
        if type(ref) is not str:
            raise UntrustedError("it names a function by an object that is no text")
        module, _, name = ref.partition(":")
        try:
            found = self.resolve(module, name)
        except ImportError as error:
            raise LookupError(
                f"Error resolving reference {shown(ref)}: could not import module"
            ) from error
        if "." in name and "__path__" in DICT_OF_MODULE.__get__(sys.modules[module]):
            # APScheduler would try to import a submodule of that name.
            raise UntrustedError(f"it names {shown(ref)}, an attribute of a class in a package")
        return found


def is_name(module: object, name: object) -> bool:
    """Whether these can be the name of an importable class or function, with dots or without."""
    return (
        type(module) is str
        and type(name) is str
        and MODULE(module) is not None
        and "__main__" not in module.split(".")[1:]  # its import runs a program
        and all(part.isidentifier() for part in name.split("."))
    )


def attribute(holder: Any, name: str) -> Any:
    """Return an attribute of a module or a class; `MISSING` if `getattr` might find another."""
    kind = type(holder)
    if issubclass(kind, ModuleType):
        if is_computed(kind, name, ModuleType):
            return MISSING
        return DICT_OF_MODULE.__get__(holder).get(name, MISSING)
    if not is_class(holder) or is_computed(kind, name, type):
        return MISSING
    found = inherited(holder, name)
    if type(found) is staticmethod or type(found) is classmethod:
        func = found.__func__
        if type(func) is not FunctionType:
            return MISSING
        return func if type(found) is staticmethod else MethodType(func, holder)
    binds = inherited(type(found), "__get__")
    if binds is not MISSING and type(binds) is not WrapperDescriptorType:
        return MISSING  # its own code would run
    return found


def is_computed(kind: type, name: str, base: type) -> bool:
    """Whether a class of modules, or of classes, computes that attribute of its objects."""
    is_below_base = True
    for each in MRO_OF_CLASS.__get__(kind):
        is_below_base = is_below_base and each is not base
        own = DICT_OF_CLASS.__get__(each)
        if is_below_base and "__getattribute__" in own:
            return True
        if name in own:
            cls = type(own[name])
            if any(inherited(cls, key) is not MISSING for key in ("__set__", "__delete__")):
                return True
    return False


def is_class(found: Any) -> bool:
    """Whether this is a class, also one that a metaclass made."""
    return issubclass(type(found), type)


def bases(found: Any) -> tuple[type, ...]:
    """Return a class and its bases; nothing for any other object."""
    return MRO_OF_CLASS.__get__(found) if is_class(found) else ()


def inherited(cls: type, name: str) -> Any:
    """Return the attribute that a class, or the first of its bases that has it, holds."""
    for each in MRO_OF_CLASS.__get__(cls):
        own = DICT_OF_CLASS.__get__(each)
        if name in own:
            return own[name]
    return MISSING


def name_of(found: Any) -> tuple[str, str] | None:
    """Return the module and the qualified name that an object itself has; None if it has none.

    Classes and functions have them, compiled ones too, and what `functools.wraps` made.
    """
    kind = type(found)
    if kind is MethodType:
        found = found.__func__
        kind = type(found)
    if kind is FunctionType or kind is BuiltinFunctionType:
        names = found.__module__, found.__qualname__
    elif is_class(found):
        names = tuple(vars(type)[key].__get__(found) for key in ("__module__", "__qualname__"))
    else:
        names = tuple(own_attribute(found, key) for key in ("__module__", "__qualname__"))
    if type(names[0]) is str and type(names[1]) is str:
        return names
    return None


def own_attribute(found: Any, name: str) -> Any:
    """Return an attribute of an object, not of its class, unless the class is compiled."""
    held = inherited(type(found), name)
    if type(held) in C_ATTRIBUTES:
        return held.__get__(found)
    dict_of = inherited(type(found), "__dict__")
    attributes = dict_of.__get__(found) if type(dict_of) in C_ATTRIBUTES else None
    return attributes.get(name) if type(attributes) is dict else None


def shown(text: str) -> str:
    """Return the beginning of a name that anybody may have written, in ASCII."""
    return ascii(text[:MAX_SHOWN])[1:-1]


def not_matched(text: str, own: str | None = None) -> UntrustedError:
    """Make the error of a name that isn't allowed."""
    resolved = "" if own is None or own == text else f" ({shown(own)})"
    return UntrustedError(f"it names {shown(text)}{resolved}, which allow doesn't match")
