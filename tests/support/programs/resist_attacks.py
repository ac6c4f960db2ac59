"""Runs real schedulers on a collection that an attacker writes to, and prints what went wrong.

Usage: ``python resist_attacks.py URI DATABASE FOLDER MODE``, with the store's options in JSON. The
schedulers have keys, then keys and ``unsigned="run"``, then `allow`, then all of these.

Each line of the output is a fault in JSON. The last line has the numbers of hostile documents.
"""

import json
import sys

from support.attacks.witnesses import Witnesses

witnesses = Witnesses()  # before jobstore is imported

from jobstore.mongodb.trust.allowed import Allowed  # noqa: E402
from support.attacks.siege import TRUSTS, Siege  # noqa: E402


def main(uri, database, folder, mode):
    witnesses.watch(Allowed, "loads")
    counts = []
    for trust in TRUSTS:
        siege = Siege(witnesses, uri, database, folder, trust, json.loads(mode))
        siege.run()
        counts.append(siege.count)
        for fault in witnesses.faults:
            print(json.dumps(f"{trust}: {fault}"))
        witnesses.reset()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
