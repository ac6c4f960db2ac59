"""Random pickles of allowed names change nothing that is there, and import nothing."""

import random
import sys

import pytest
import pytz

from jobstore.mongodb.trust.allowed import Allowed
from support import allowed_target
from support.allowed_target import Colour, Every, Order, Registry
from support.not_allowed import AND, GETATTR, OBJECT, RECONSTRUCTOR, target
from support.opcodes import STOP, list_of, named, number, state_of, text, tuple_of

ALLOWED = Allowed(["support.*"])
BERLIN = pytz.timezone("Europe/Berlin")
OF_ZONES = ("encodings", "pytz", "tzdata", "tzlocal")  # a trigger may look for the local zone
OWN = [Order, Order.Line, Colour, Every, Registry, allowed_target.Both]
NAMES = [
    *map(target, ("Order", "Order.first", "Colour", "Colour.favourite", "Every", "Both")),
    *map(target, ("send", "settings", "order_class", "new_order", "Registry", "Order.Line")),
    AND,
    RECONSTRUCTOR,
    GETATTR,
    OBJECT,
    named("apscheduler.triggers.interval", "IntervalTrigger"),
    named("apscheduler.triggers.cron.expressions", "AllExpression"),
    named("zoneinfo", "ZoneInfo"),
    named("pytz", "_UTC"),
    named("pytz", "_p") + tuple_of(text("Europe/Berlin")) + b"R",
    named("os", "system"),
    named("this", "s"),
]
TRIGGERS = list_of(tuple_of(text("this:s"), b"}"))
VALUES = [
    *(b"N", b")", b"}", b"]", b"\x88", number(1), text("debug"), text("__dict__"), text("x")),
    *map(text, ("__class__", "_value_", "_unpickle", "__setstate__", "append", "this:s")),
]
STATES = [
    state_of(debug=b"\x88"),
    tuple_of(b"N", state_of(send=number(1), debug=number(1))),
    state_of(triggers=TRIGGERS, jitter=b"N"),
    tuple_of(b"N", state_of(__setstate__=target("send"))),
    tuple_of(b"N", state_of(__dict__=target("settings") + b")R")),
]


def random_value(rng, depth):
    """Make a value: of calls, states and items, mostly of those that are allowed."""
    kind = rng.choice(["value", "name", "call", "new", "state", "state", "item", "memo"])
    if depth == 0 or kind == "value":
        return rng.choice(VALUES)
    if kind == "name":
        return rng.choice(NAMES)
    if kind == "memo":
        return rng.choice(
            [b"h\0", b"h\1", rng.choice(NAMES) + b"q\0", rng.choice(NAMES) + b")R\x94"]
        )
    if kind in ("call", "new"):
        func = rng.choice(NAMES) if rng.random() < 0.8 else random_value(rng, depth - 1)
        args = [random_value(rng, depth - 1) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
        return func + tuple_of(*args) + (b"R" if kind == "call" else b"\x81")
    changed, key, other = (random_value(rng, depth - 1) for _ in range(3))
    if kind == "state":
        return changed + rng.choice([key, *STATES]) + b"b"
    return changed + rng.choice([key + other + b"s", key + b"a", b"(" + key + other + b"u"])


def random_state(rng):
    return b"\x80\x04" + b"".join(random_value(rng, 3) for _ in range(rng.choice([1, 2]))) + STOP


def surroundings():
    """Return everything that no state may change."""
    return (
        [dict(vars(cls)) for cls in OWN],
        [(vars(func).copy(), func.__defaults__, func.__code__) for func in FUNCTIONS],
        dict(allowed_target.SETTINGS),
        [(member.name, dict(vars(member))) for member in Colour],
        {key: value for key, value in vars(BERLIN).items() if key != "_tzinfos"},
        dict(vars(pytz.utc)),
        {name for name in sys.modules if not name.startswith(OF_ZONES)},
    )


FUNCTIONS = [allowed_target.send, allowed_target.settings, allowed_target.order_class]


@pytest.mark.parametrize("seed", range(4))
def test_random_states_change_nothing_that_others_hold(seed):
    rng = random.Random(seed)
    before = surroundings()
    loaded = 0
    for number_of_state in range(10_000):
        state = random_state(rng)
        try:
            ALLOWED.loads(state)
            loaded += 1
        except Exception:  # any but an interrupt: what counts is that nothing has changed
            pass
        if number_of_state % 100 == 0:
            assert surroundings() == before
    assert surroundings() == before
    assert loaded > 100
