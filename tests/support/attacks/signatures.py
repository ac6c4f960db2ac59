"""Signatures that an attacker has: copied, damaged, of wrong types, and made with other keys."""

from bson import Binary, Code, DBRef, Int64, ObjectId, Regex

from jobstore.mongodb.trust.signatures import Signatures

__all__ = ["ABSENT", "DAMAGED", "KEYS", "MISSING", "UNKNOWN", "WRONG", "hostile_signatures"]

KEYS = [b"the key that signs first", b"the key that signed before"]
ATTACKERS = b"the key of the attacker"
ABSENT = object()  # stands for no field

MISSING = "it has no signature"
WRONG = "its signature is wrong"
DAMAGED = "its signature is damaged"
UNKNOWN = "its signature is by the unknown key"


def hostile_signatures(namespace, copied):
    """Return functions by the names of the attacks, each with the reason of the refusal.

    A function makes the field `signature` for an id and a state.

    :param namespace: that of the attacked collection.
    :param copied: a valid signature of another job there.
    """
    ours, older = (Signatures([key], namespace, False) for key in KEYS)
    theirs = Signatures([ATTACKERS], namespace, False)
    elsewhere = Signatures(KEYS, f"{namespace}2", False)
    other_database = Signatures(KEYS, f"2{namespace}", False)
    our_id, older_id = ours.sign("", b"")["by"], older.sign("", b"")["by"]

    def changed(signatures, change):
        return lambda job_id, state: change(signatures.sign(job_id, state))

    def valued(value):
        return lambda job_id, state: value

    wrong = {
        "of another job": valued(copied),
        "of another collection": elsewhere.sign,
        "of another database": other_database.sign,
        "of another id": lambda job_id, state: ours.sign(f"{job_id} ", state),
        "of an id and state cut elsewhere": lambda job_id, state: ours.sign(
            job_id + state[:1].decode("latin1"), state[1:]
        ),
        "of another state": lambda job_id, state: ours.sign(job_id, state[:-1]),
        "of a longer state": lambda job_id, state: ours.sign(job_id, state + b"."),
        "by the attacker, with our key's id": changed(theirs, lambda it: {**it, "by": our_id}),
        "by the attacker, with our older key's id": changed(
            theirs, lambda it: {**it, "by": older_id}
        ),
        "by our key, with the older one's id": changed(ours, lambda it: {**it, "by": older_id}),
        "truncated": changed(ours, lambda it: {**it, "of": it["of"][:31]}),
        "empty": valued({"by": our_id, "of": b""}),
        "longer": changed(ours, lambda it: {**it, "of": it["of"] + b"\0"}),
        "zeros": valued({"by": our_id, "of": bytes(32)}),
        "huge": valued({"by": our_id, "of": bytes(100_000)}),
    }
    unknown = {
        "by the attacker": theirs.sign,
        "of an empty key id": changed(theirs, lambda it: {**it, "by": ""}),
        "of a huge key id": changed(theirs, lambda it: {**it, "by": "x" * 100_000}),
        "of a key id of escapes": changed(theirs, lambda it: {**it, "by": "\x1b[2J\r\n'\"%s{}"}),
        "of a longer key id": changed(ours, lambda it: {**it, "by": our_id + " "}),
    }
    damaged = {
        **{
            f"by {value!r:.20}": changed(theirs, lambda it, value=value: {**it, "by": value})
            for value in (None, [our_id], {"a": our_id}, Int64(5), our_id.encode(), Regex(".*"))
        },
        **{
            f"of {value!r:.20}": valued({"by": our_id, "of": value})
            for value in (None, "x" * 32, [bytes(32)], {"a": 1}, True, Binary(bytes(32), 4))
        },
        **{
            f"a {type(value).__name__}": valued(value)
            for value in ([], {}, "text", 0, False, b"", DBRef("a", 1), ObjectId(), Code("x"))
        },
        "in a list": lambda job_id, state: [theirs.sign(job_id, state)],
        "nested": lambda job_id, state: {"signature": theirs.sign(job_id, state)},
        "without a key id": changed(theirs, lambda it: {"of": it["of"]}),
        "without an HMAC": valued({"by": our_id}),
        "a DBRef of both": lambda job_id, state: DBRef(
            "a", 1, None, {"by": our_id, "of": bytes(32)}
        ),
    }
    return {
        "missing": (valued(ABSENT), MISSING),
        "null": (valued(None), MISSING),
        **{name: (make, WRONG) for name, make in wrong.items()},
        **{name: (make, UNKNOWN) for name, make in unknown.items()},
        **{name: (make, DAMAGED) for name, make in damaged.items()},
    }
