"""Describes the hostile pickles of a group within limits, and prints each fault as a line of JSON.

describe_hostile.py GROUP: the limits are 1 GB of memory, and ten minutes of a processor's time.
Both the compiled part and its twin read the states, with the same result. For values that fill a
document this would take too long.
"""

import copyreg
import json
import resource
import sys
from contextlib import suppress
from datetime import datetime, timezone

from jobstore.about import About
from jobstore.describe import JobInfo, about_state, describe, read_job
from jobstore.firing import around, firing
from jobstore.run_times import UnreadableError
from support import hostile_places, hostile_target
from support.both_readers import describe_by_the_other
from support.hostile_pickles import EXTENSIONS
from support.opcodes import job_state

GIGABYTE = 2**30
SECONDS = 600
MANY = 1_000_000  # bytes
LONGEST = 600  # characters of a text
TEXTS = ["name", "func", "trigger", "executor", "args", "kwargs", "unreadable"]
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)
OWN = ["name", "func", "executor"]  # texts of the state, as long as there
TYPES = {
    **dict.fromkeys(TEXTS, str),
    "misfire_grace_time": int,
    "coalesce": bool,
    "max_instances": int,
    "paused": bool,
    "bytes": int,
    "tags": tuple,
}

events = []
is_watching = False


def watch(event, args):
    if is_watching:
        events.append(f"{event} {args!r}"[:200])


def limit():
    """Limit the memory to what is taken now and a gigabyte, and the processor's time."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    for kind, most in [(resource.RLIMIT_AS, taken + GIGABYTE), (resource.RLIMIT_CPU, SECONDS)]:
        resource.setrlimit(kind, (most, most))


def register():
    """Register codes of extensions, as a program may, and put objects into their cache."""
    for code, kind in EXTENSIONS.items():
        copyreg.add_extension("os", f"system{code}", code)
        if kind == "cached":
            copyreg._extension_cache[code] = hostile_target.function


def tell_times(state):
    """Compute fire times, if the state has a trigger."""
    with suppress(UnreadableError):
        around(firing(read_job(None, state)["trigger"]), NOON)


def faults(document):
    """Describe a document; return a text for each fault."""
    global is_watching
    modules = set(sys.modules)
    is_watching = True
    try:
        info = describe(document)
        again = describe_by_the_other(document) if len(document["job_state"]) < MANY else info
        try:
            about = about_state(document["job_state"]) if again is not info else None
        except UnreadableError as error:
            about = error
        if sys.argv[1] == "triggers":
            tell_times(document["job_state"])
    except BaseException as error:
        is_watching = False
        yield f"raised {type(error).__name__}: {error}"[:300]
        return
    finally:
        is_watching = False
    if type(info) is not JobInfo:
        yield f"returned {info!r}"
        return
    for name, kind in TYPES.items():
        value = getattr(info, name)
        if value is not None and not isinstance(value, kind):
            yield f"{name} is a {type(value)}"
        if kind is str and name not in OWN and value is not None and len(value) > LONGEST:
            yield f"{name} has {len(value)} characters"
    if (info.func is None) is (info.unreadable is None):
        yield f"func {info.func}, unreadable {info.unreadable}"
    if type(about) is About and info.unreadable is None and about.func != info.func:
        yield f"about {about}, func {info.func}"
    if info != again:
        yield f"another description, by the twin: {again.unreadable}, {again.args}"
    yield from (f"{len(events)} events: {events[0]}" for _ in events[:1])
    yield from (f"called {name}" for name in hostile_target.CALLS)
    yield from (f"imported {name}" for name in set(sys.modules) - modules)
    events.clear()
    hostile_target.CALLS.clear()


def main():
    group = sys.argv[1]
    register()
    warm = describe({"_id": "an id", "next_run_time": 1.0, "job_state": job_state()})
    assert warm.unreadable is None, warm
    limit()
    sys.addaudithook(watch)
    number = 0
    for name, state in hostile_places.states(group):
        number += 1
        print(name, file=sys.stderr)
        document = {"_id": "an id", "next_run_time": 1.0, "job_state": state}
        del state
        for fault in faults(document):
            print(json.dumps([name, fault]))
    print(json.dumps(number))


if __name__ == "__main__":
    main()
