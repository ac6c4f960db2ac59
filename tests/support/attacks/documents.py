"""Documents that an attacker writes: each attack, in each place where a store finds jobs."""

import itertools
import pickle
from datetime import datetime, timedelta, timezone
from zlib import crc32

from bson import Binary, Code, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp

from support.attacks.signatures import ABSENT, WRONG, hostile_signatures
from support.attacks.states import PLANTED, hostile_states
from support.jobs import job

__all__ = ["placed", "signed_attacks", "unsigned_attacks", "when_due"]

NOW = datetime.now(timezone.utc)
FAR = NOW + timedelta(days=1)
HOSTILE = [None, "x" * 100_000, [1, [2]], {"a": {"b": []}}, DBRef("a", 1), Regex("(a*)*$"), b"", -1]
HOSTILE += [Code("x"), MinKey(), MaxKey(), {"$a": 1}, float("nan"), True, FAR]


class Attack:
    """A document of an attacker.

    :ivar reason: how the text begins that says why it must not run; None if any will do.
    """

    def __init__(self, name, make_state, make_signature, reason):
        self.name, self.reason = name, reason
        self._make_state, self._make_signature = make_state, make_signature

    def document(self, job_id, run_time):
        """Return the document of a job with this id and run time."""
        state = self._make_state(job_id, run_time)
        document = {"_id": job_id, "next_run_time": run_time, "job_state": state}
        if (signature := self._make_signature(job_id, state)) is not ABSENT:
            document["signature"] = signature
        return document


class Change:
    """A document of the store whose state the attacker has changed, and not its signature."""

    reason = WRONG

    def __init__(self, name, change, sign):
        self.name = name
        self._change, self._sign = change, sign

    def document(self, job_id, run_time):
        """Return the changed document of a job with this id and run time."""
        theirs = job(job_id, 0, args=("theirs",))  # no call of the siege makes the same state
        state = pickle.dumps(theirs.__getstate__(), 5)
        signature = self._sign(job_id, state)
        changed = self._change(state)
        assert changed != state, self.name
        return {
            "_id": job_id,
            "next_run_time": run_time,
            "job_state": changed,
            "signature": signature,
        }


CHANGES = {
    "truncated": lambda state: state[:-1],
    "half": lambda state: state[: len(state) // 2],
    "empty": lambda state: b"",
    "longer": lambda state: state + PLANTED,
    "one bit": lambda state: bytes([*state[:-20], state[-20] ^ 1, *state[-19:]]),
    "another function": lambda state: state.replace(b"note", b"nope"),
    "of another job": lambda state: pickle.dumps(job("another").__getstate__(), 5),
    "no bytes": lambda state: state.decode("latin1"),
    "a UUID": lambda state: Binary(state, 4),
    "a list": lambda state: [state],
    "null": lambda state: None,
}


def unsigned_attacks(canary, namespace, sign):
    """Return each state with two bad signatures, each bad signature with a state, and each change.

    :param canary: see `hostile_states`.
    :param namespace: that of the attacked collection.
    :param sign: signs a state as the store does.
    """
    states = hostile_states(canary)
    signatures = hostile_signatures(namespace, sign("another", b"state"))
    made = []
    for name, make in states.items():
        for kind in ("missing", "by the attacker, with our key's id"):
            made.append(Attack(f"{name}, {kind}", make, *signatures[kind]))
    for (kind, (forge, reason)), (name, make) in zip(
        signatures.items(), itertools.cycle(states.items())
    ):
        made.append(Attack(f"{kind}, {name}", make, forge, reason))
    return made + [Change(name, change, sign) for name, change in CHANGES.items()]


def signed_attacks(canary, sign):
    """Return each state with a signature by the store's key: its names must be refused."""
    return [Attack(name, make, sign, None) for name, make in hostile_states(canary).items()]


def marks(run_time):
    """Return marks of the quarantine, by their names."""
    mark = {"reason": "no reason", "since": NOW, "next_run_time": run_time}
    return {
        "usual": mark,
        **{
            f"{name} {number}": {**mark, name: value}
            for name in mark
            for number, value in enumerate(HOSTILE)
        },
        "in a list": [mark],
        "DBRef": DBRef("a", 1, None, mark),
        "without times": {"since": NOW},
        "attempts": {**mark, "attempts": 3},
    }


def held_marks(run_time):
    """Return marks of held jobs, by their names."""
    mark = {"next_run_time": run_time, "op": "catch_up", "by": "host:1", "at": NOW}
    return {
        "usual": mark,
        **{f"op {number}": {**mark, "op": value} for number, value in enumerate(HOSTILE)},
        **{f"time {number}": {**mark, "next_run_time": it} for number, it in enumerate(HOSTILE)},
        "in a list": [mark],
        "DBRef": DBRef("a", 1, None, mark),
    }


def places(due, is_shared):
    """Return the fields, beside its state, of documents in every place; by the places' names.

    :param is_shared: whether to claim documents. Stores that don't share refuse to start then.
    """
    claims = {
        "leased": {"acquired_by": ObjectId(), "acquired_until": FAR},
        "was leased": {"acquired_by": ObjectId(), "acquired_until": NOW},
        **{f"claim {number}": {"acquired_by": it} for number, it in enumerate(HOSTILE)},
    }
    return {
        "due": {},
        "overdue": {"next_run_time": due - 3600},
        "paused": {"next_run_time": None},
        "far": {"next_run_time": due + 86400},
        **(claims if is_shared else {}),
        **{f"lease {number}": {"acquired_until": it} for number, it in enumerate(HOSTILE)},
        **{f"attempts {number}": {"attempts": it} for number, it in enumerate(HOSTILE)},
        "attempted": {"attempts": {"count": 1, "by": ObjectId()}},
        **{f"about {number}": {"about": it} for number, it in enumerate(HOSTILE)},
        **{f"time {number}": {"next_run_time": it} for number, it in enumerate(HOSTILE)},
        **{
            f"mark, {name}": {"next_run_time": None, "quarantine": mark}
            for name, mark in marks(due).items()
        },
        **{
            f"held, {name}": {"next_run_time": None, "held": mark}
            for name, mark in held_marks(due).items()
        },
        "held, with a run time": {"held": held_marks(due)["usual"]},
    }


def when_due(found, prefix, due):
    """Yield the attacks with their documents, all due at a time."""
    for number, attack in enumerate(found):
        yield attack, attack.document(f"{prefix} {number} {attack.name[:40]}", due)


def placed(found, prefix, due, is_shared):
    """Yield attacks with their documents: each place with some attack.

    :param found: the attacks.
    :param prefix: that of all ids.
    :param due: the run time of most.
    :param is_shared: see `places`.
    """
    for (name, fields), attack in zip(places(due, is_shared).items(), itertools.cycle(found)):
        document = attack.document(f"{prefix} {name}", due)
        yield attack, {**document, **fields}
    refused = [attack for attack in found if attack.reason] or found  # signed for its own id
    for job_id, attack in zip(other_ids(prefix), refused, strict=False):
        yield attack, {**attack.document(f"{prefix} {job_id!r}", due), "_id": job_id}


def other_ids(prefix):
    """Return ids that are no strings."""
    number = crc32(prefix.encode())
    raw = prefix.encode()
    ids = [raw, Binary(raw, 5), {"id": prefix}, number, number + 0.5, Decimal128(f"{number}.25")]
    return [*ids, DBRef(prefix, 1), Code(prefix), ObjectId(), Timestamp(number, 1)]
