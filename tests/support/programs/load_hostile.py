"""Unpickles the hostile pickles of a group with `allow`, and prints each fault as a line of JSON.

load_hostile.py GROUP: nothing that isn't allowed is imported or called, as an audit hook sees.
Nothing of the module that the pickles name is allowed. The limits are a gigabyte of memory, and ten
minutes of a processor's time.
"""

import copyreg
import json
import sys

import pytz
from apscheduler.triggers.combining import AndTrigger, OrTrigger

from jobstore.inert import _changes_py
from jobstore.inert.changes import changes
from jobstore.mongodb.trust.allowed import Allowed
from jobstore.mongodb.trust.always import FRESH, NARROW, PLAIN
from jobstore.run_times import UnreadableError
from support import hostile_places, hostile_target
from support.hostile_pickles import EXTENSIONS
from support.programs.describe_hostile import limit

COMBINING = AndTrigger, OrTrigger
ALWAYS = FRESH | PLAIN | NARROW.keys()
ZONE_FILES = ("zoneinfo", "tzdata", "pytz")  # which zones open, by valid keys

allowed = Allowed(["support.jobs:*"])
events = []
is_watching = False


def watch(event, args):
    if not is_watching:
        return
    if event == "pickle.find_class" and args in ALWAYS:
        return
    if event == "object.__setattr__" and args[1:] in [("__class__", cls) for cls in COMBINING]:
        return
    if event in ("open", "import", "os.listdir") and any(
        each in str(args[0]) for each in ZONE_FILES
    ):
        return
    events.append(f"{event} {args!r}"[:200])


def outcome(call, state):
    try:
        return call(state)
    except UnreadableError as error:
        return str(error)


def faults(state):
    """Unpickle a state; return a text for each fault."""
    global is_watching
    modules = set(sys.modules)
    reason = None
    is_watching = True
    try:
        allowed.loads(state)
    except UnreadableError as error:
        reason = str(error)
    except Exception:  # as pickle.loads may raise
        pass
    finally:
        is_watching = False
    if reason is not None and not (reason.isascii() and reason.isprintable() and len(reason) < 700):
        yield f"the reason {reason!r:.300}"
    if outcome(changes, state) != outcome(_changes_py.changes, state):
        yield "another outcome by the twin"
    yield from (f"{len(events)} events: {events[0]}" for _ in events[:1])
    yield from (f"called {name}" for name in hostile_target.CALLS)
    yield from (
        f"imported {name}" for name in set(sys.modules) - modules if not name.startswith(ZONE_FILES)
    )
    events.clear()
    hostile_target.CALLS.clear()


def main():
    group = sys.argv[1]
    for code, kind in EXTENSIONS.items():
        copyreg.add_extension("os", f"system{code}", code)
        if kind == "cached":
            copyreg._extension_cache[code] = hostile_target.function
    allowed.check_func("support.jobs:note")
    assert pytz.utc
    limit()
    sys.addaudithook(watch)
    number = 0
    for name, state in hostile_places.states(group):
        number += 1
        print(name, file=sys.stderr)
        for fault in faults(state):
            print(json.dumps([name, fault]))
    print(json.dumps(number))


if __name__ == "__main__":
    main()
