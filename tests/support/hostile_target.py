"""A module that hostile pickles name: everything in it notes that it was run."""

CALLS = []


def note(name):
    def call(*args, **kwargs):
        CALLS.append(name)
        raise AssertionError(f"{name} was called")

    return call


class Meta(type):
    __getattribute__ = note("Meta.__getattribute__")
    __call__ = note("Meta.__call__")
    __instancecheck__ = note("Meta.__instancecheck__")
    __subclasscheck__ = note("Meta.__subclasscheck__")
    __hash__ = note("Meta.__hash__")
    __eq__ = note("Meta.__eq__")


METHODS = ["__init__", "__setstate__", "__getstate__", "__reduce__", "__reduce_ex__", "__repr__"]
METHODS += ["__str__", "__format__", "__bool__", "__len__", "__iter__", "__index__", "__int__"]
METHODS += ["__float__", "__call__", "__hash__", "__eq__", "__getattr__", "__getattribute__"]
METHODS += ["__setattr__", "__getitem__", "__setitem__", "append", "extend", "add", "update"]
METHODS += ["__new__", "__del__", "utcoffset", "tzname", "dst", "get_next_fire_time"]

Target = type("Target", (), {name: note(f"Target.{name}") for name in METHODS})
Watched = Meta("Watched", (), {})
function = note("function")


def __getattr__(name):  # a module's
    CALLS.append(f"hostile_target.{name}")
    raise AttributeError(name)
