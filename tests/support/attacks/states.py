"""States that run an attacker's code where they are unpickled, or whose job is that code.

Each has the word `PLANTED` in its bytes. Nothing here imports what the states name.
"""

import copyreg
import struct
from datetime import datetime, timezone

from support.opcodes import (
    STOP,
    called,
    dict_of,
    job_state,
    list_of,
    made,
    named,
    named_by_texts,
    number,
    plain,
    state_of,
    text,
    tuple_of,
)

__all__ = ["PLANTED", "ext", "hostile_states", "register"]

PLANTED = b"planted"
MODULE = "support.planted"
RUN, TARGET = named(MODULE, "run"), named(MODULE, "Target")
WORD = text(PLANTED.decode())
CODES = {211: "registered", 212: "cached", 4011: "cached"}


def register(cached):
    """Register codes of extensions, as a program may.

    :param cached: the object that the unpickler's cache has for some of them.
    """
    for code, kind in CODES.items():
        copyreg.add_extension(MODULE, f"run{code}", code)
        if kind == "cached":
            copyreg._extension_cache[code] = cached


def ext(code):
    return b"\x82" + bytes([code]) if code < 256 else b"\x83" + struct.pack("<H", code)


def values(canary):
    """Return the attacks by a value, which can stand anywhere in a state.

    :param canary: the path of a file that nobody may open.
    """
    shell, path = text(f"echo planted > {canary}"), text(canary)
    return {
        "reduce": called(RUN, WORD),
        "reduce, by texts": called(named_by_texts(MODULE, "run"), WORD),
        "global": RUN,
        "global of a dotted name": named_by_texts(MODULE, "Target.__init__"),
        "global of a missing module": named("planted_elsewhere", "run"),
        "build": made(TARGET, state_of(a=WORD)),
        "build of slots": made(TARGET, tuple_of(b"N", state_of(a=WORD))),
        "inst": b"(" + WORD + f"i{MODULE}\nrun\n".encode(),
        "obj": b"(" + TARGET + WORD + b"o",
        "newobj": TARGET + tuple_of(WORD) + b"\x81",
        "newobj_ex": TARGET + b")" + state_of(a=WORD) + b"\x92",
        "reconstructor": called(
            named("copyreg", "_reconstructor"), TARGET, named("builtins", "object"), b"N"
        ),
        "partial": called(named("functools", "partial"), RUN, WORD),
        **{f"ext {code}, {kind}": called(ext(code), WORD) for code, kind in CODES.items()},
        "persistent id": b"Pplanted\n",
        "persistent id of a value": WORD + b"Q",
        "custom __setstate__": made(TARGET, WORD),
        "nested": list_of(
            dict_of([(text("a"), tuple_of(list_of(dict_of([(called(RUN, WORD), WORD)]))))])
        ),
        "in a set": b"\x8f(" + called(RUN, WORD) + b"\x90",
        "eval": called(named("builtins", "eval"), text("__import__('support.planted')")),
        "exec": called(named("builtins", "exec"), text("import support.planted")),
        "import": called(named("importlib", "import_module"), text(MODULE)),
        "getattr": called(
            called(named("builtins", "getattr"), named("os", "path"), text("planted")), WORD
        ),
        "os.system": called(named("os", "system"), shell),
        "posix.system": called(named("posix", "system"), shell),
        "process": called(
            named("subprocess", "Popen"), list_of(text("sh"), text("-c"), shell), number(-1)
        ),
        "open": called(named("io", "open"), path, text("w")),
        "zone file": called(named("dateutil.tz.tz", "tzfile"), path),
    }


def elsewhere(canary):
    """Return the attacks by one of the job's own parts."""
    return {
        "trigger subclass": {"trigger": made(named(MODULE, "Trigger"), state_of(a=WORD))},
        "zone": {
            "next_run_time": called(
                named("datetime", "datetime"),
                b"C\x0a" + bytes([7, 246, 1, 1, 0, 0, 0, 0, 0, 0]),
                called(TARGET, WORD),
            )
        },
        "function": {"func": text(f"{MODULE}:run"), "args": tuple_of(WORD)},
        "function os:system": {
            "func": text("os:system"),
            "args": tuple_of(text(f"echo planted > {canary}")),
        },
        "function through an import": {
            "func": text("support.waiting:asyncio.subprocess.subprocess.getoutput"),
            "args": tuple_of(text(f"echo planted > {canary}")),
        },
        "function of a dotted module": {"func": text(f"{MODULE}:Target.__init__")},
        "function that is a class": {
            "func": text("support.waiting:threading.Thread"),
            "name": WORD,
        },
        "key of the state": {"planted": called(RUN, WORD)},
        "keyword": {"kwargs": dict_of([(text("a"), called(RUN, WORD))])},
        "executor": {"executor": called(RUN, WORD)},
        "name": {"name": called(RUN, WORD)},
    }


def hostile_states(canary):
    """Return functions by the names of the attacks; each makes the state for an id and a time."""

    def in_args(value):
        return in_fields({"args": tuple_of(value)})

    def in_fields(fields):
        def make(job_id, run_time):
            when = run_time and datetime.fromtimestamp(run_time, timezone.utc)
            own = {
                "id": text(job_id),
                "func": text("support.jobs:note"),
                "next_run_time": plain(when),
                "trigger": TRIGGER,
                "misfire_grace_time": b"N",
            }
            return job_state(**{**own, **fields})

        return make

    def whole(job_id, run_time):  # the id makes it another state for each job
        return called(RUN, text(f"{PLANTED.decode()} {job_id}"))

    def text_subclass(job_id, run_time):
        return in_fields({"id": called(named(MODULE, "Text"), text(job_id), WORD)})(
            job_id, run_time
        )

    return {
        **{name: in_args(value) for name, value in values(canary).items()},
        **{name: in_fields(fields) for name, fields in elsewhere(canary).items()},
        "id subclass": text_subclass,
        "the whole": lambda *job: b"\x80\x04" + whole(*job) + STOP,
        "the whole, of protocol 0": lambda *job: whole(*job) + STOP,
        "before the state": lambda *job: b"\x80\x04" + whole(*job) + b"0" + in_args(WORD)(*job)[2:],
    }


def _trigger():
    from apscheduler.triggers.interval import IntervalTrigger

    start = datetime(2020, 1, 1, tzinfo=timezone.utc)
    return plain(IntervalTrigger(seconds=3600, start_date=start, timezone=timezone.utc))


TRIGGER = _trigger()
