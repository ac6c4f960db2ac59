"""Runs a real scheduler on a collection that an attacker writes to, and prints what went wrong.

Usage: ``python resist_attacks.py URI DATABASE FOLDER OPTIONS``, with options in JSON: `trust`, the
name of one in `TRUSTS`, and `mode`, the store's options.

Each line of the output is a fault in JSON. The last line has the number of documents that attacked.
"""

import json
import sys

from support.attacks.witnesses import Witnesses

witnesses = Witnesses()  # before jobstore is imported

from support.attacks.siege import Siege  # noqa: E402


def main(uri, database, folder, options):
    siege = Siege(witnesses, uri, database, folder, **json.loads(options))
    siege.run()
    for fault in witnesses.faults:
        print(json.dumps(fault))
    print(json.dumps(siege.count))


if __name__ == "__main__":
    main(*sys.argv[1:])
