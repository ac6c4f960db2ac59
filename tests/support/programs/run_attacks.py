"""Unpickles the states of all attacks, and runs their functions, to see that the hook sees them.

Usage: ``python run_attacks.py FOLDER``. Each line of the output is the name, in JSON, of an attack
that the audit hook has not seen. The last line has the number of attacks.
"""

import json
import pickle
import sys
from pathlib import Path

from apscheduler.job import Job

from support.attacks.states import hostile_states, register
from support.attacks.witnesses import Witnesses


def main(folder):
    witnesses = Witnesses(loads=False)
    witnesses.names = set()
    register(lambda *args: witnesses.fault("called the cached extension"))
    attacks = hostile_states(str(Path(folder) / "planted-canary"))
    for name, make in attacks.items():
        state = make("a job", 5.0)
        witnesses.names.clear()
        witnesses.names.update(ALWAYS)
        witnesses.faults.clear()
        try:
            job = Job.__new__(Job)
            job.__setstate__(pickle.loads(state))
            if name.startswith("function"):
                job.func(*job.args)
        except Exception as error:
            print(name, error, file=sys.stderr)
        if not witnesses.faults:
            print(json.dumps(name))
    print(json.dumps(len(attacks)))


# What the pickles of good jobs name.
ALWAYS = {("datetime", "datetime"), ("datetime", "timedelta"), ("datetime", "timezone")}
ALWAYS |= {("apscheduler.triggers.interval", "IntervalTrigger")}

if __name__ == "__main__":
    main(*sys.argv[1:])
