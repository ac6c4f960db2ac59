"""Fuzzes the check of signatures. Bytes become mixtures and damages of documents that were signed.

    python tests/mongodb/trust/fuzz/fuzz_trust.py [libFuzzer's options] [folders of inputs]

A mixture takes each part from another signed document: the collection, the id, the state, the key's
id, and the HMAC. A document must verify if all its parts are those of one signed document. If they
are not, it must be refused with an `UntrustedError`, and its state must not be unpickled.
`ci/sanitize --full` runs it for a while. `tests/mongodb/trust/test_fuzz_corpus.py` repeats the
inputs kept in `corpus/` beside this file.
"""

import itertools
import re
import sys
from datetime import datetime
from functools import cache
from pathlib import Path

from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

sys.path.insert(0, str(Path(__file__).parent.parent.parent.parent))

KEYS = [b"the first of two keys", b"the second of two keys"]
FOREIGN = b"a key of somebody else"
NAMESPACES = ["base.jobs", "base.job", "bas.e.jobs", "base.jobs2"]
IDS = ["", "a", "ab", "abc", "1\0", "größe", "\ufffd", "x" * 300]
STATES = [b"", b"c", b"bc", b"abc", b"\x80\x05", b"1\0\0\0\1a", b"\0\0\0\1", b"y" * 300]
VALUES = [None, True, 1, 2.5, "", "text", b"", b"bytes", [], {}, [b"bytes"], {"by": "a", "of": b""}]
VALUES += [ObjectId(), DBRef("a", 1), Int64(5), Decimal128("1"), MinKey(), MaxKey()]
VALUES += [Code("x"), Regex("(a*)*$"), re.compile("a"), datetime(2026, 1, 1), Timestamp(1, 2)]
VALUES += ["\ud800", "'\"", "\x1b[2J", "9" * 99_999, Binary(b"bytes", 4), float("nan"), 10**30]
PARTS = 5  # the collection, the id, the state, the key's id, and the HMAC


@cache
def checkers():
    """Return what signs and checks for each collection: with the keys, and with the foreign one."""
    from jobstore.mongodb.trust.signatures import Signatures

    return {name: Signatures(KEYS, name, False) for name in NAMESPACES}


@cache
def signed():
    """Return the parts of all documents that were signed, by each key; the foreign ones, too."""
    from jobstore.mongodb.trust.signatures import Signatures

    trusted, foreign = [], []
    for key, found in [(KEYS[0], trusted), (KEYS[1], trusted), (FOREIGN, foreign)]:
        for namespace in NAMESPACES:
            signatures = Signatures([key], namespace, False)
            for job_id, state in itertools.product(IDS, STATES):
                signature = signatures.sign(job_id, state)
                assert sorted(signature) == ["by", "of"]
                found.append((namespace, job_id, state, signature["by"], signature["of"]))
    return trusted, foreign


@cache
def trusted():
    return frozenset(signed()[0])


def damaged(value, numbers):
    """Change, insert or remove one character or byte, or take another value for all."""
    code, place, new = (next(numbers, 0) for _ in range(3))
    if code % 8 == 0 or not isinstance(value, str | bytes):
        return VALUES[new % len(VALUES)]
    place %= len(value) + 1
    one = chr(new) if isinstance(value, str) else bytes([new])
    if code % 8 == 1:
        return value[:place]
    if code % 8 == 2:
        return value[place:]
    if code % 8 == 3:
        return value[:place] + one + value[place:]
    if code % 8 == 4:
        return value + value[:place]
    if code % 8 == 5 and isinstance(value, bytes):
        return Binary(value, new)
    if code % 8 == 6 and isinstance(value, str):
        return value.upper()
    return value[:place] + one + value[place + 1 :]


def parts_of(data):
    """Return the parts that the bytes encode: first the mixture, then a part to damage, and how."""
    numbers = iter(data)
    trusted_ones, foreign = signed()
    first = trusted_ones[int.from_bytes(data[:2], "big") % len(trusted_ones)]
    for _ in range(2):
        next(numbers, 0)
    parts = list(first)
    mask = next(numbers, 0)
    for place in range(PARTS):
        if mask >> place & 1:
            source = foreign if mask >> 7 and place > 2 else trusted_ones
            parts[place] = source[next(numbers, 0) * 3 % len(source)][place]
    for code in numbers:
        place = 1 + code % (PARTS - 1)
        parts[place] = damaged(parts[place], numbers)
    return parts, mask


def run(data):
    """Check the document that the bytes encode; returns whether it verifies."""
    from jobstore.mongodb.codec import Codec
    from jobstore.mongodb.trust.untrusted import UntrustedError

    (namespace, job_id, state, by, of), mask = parts_of(data)
    signature = {"by": by, "of": of, "more": 1}
    if mask & 32:
        del signature["more"]
    if mask & 64:
        signature = of if mask & 1 else None
    try:
        key_id = checkers()[namespace].verify(job_id, state, signature)
    except UntrustedError as error:
        text = str(error)
        assert text.isprintable(), text
        assert len(text) < 100, text
        accepted = False
    else:
        assert key_id == by
        accepted = True
    parts = (namespace, job_id, state, by, of)
    is_signed = all(type(part) in (str, bytes) for part in parts) and parts in trusted()
    assert accepted == (is_signed and not mask & 64), parts
    restore(Codec(signatures=checkers()[namespace]), job_id, state, signature, mask, accepted)
    return accepted


def restore(codec, job_id, state, signature, mask, accepted):
    """Restore the document: its state, which is no job's, must be looked at only if it verifies."""
    from jobstore.mongodb.documents import Record
    from jobstore.mongodb.trust.signatures import to_signature
    from jobstore.mongodb.trust.untrusted import UntrustedError
    from jobstore.run_times import UnreadableError

    run_time = VALUES[mask % len(VALUES)] if mask & 16 else None
    record = Record(job_id, run_time, state, None, to_signature(signature))
    error = None
    try:
        codec.restore(record, None, None)
    except UnreadableError as raised:
        error = raised
    assert error is not None, "it is a job"
    was_refused = isinstance(error, UntrustedError)
    assert was_refused is not accepted or (run_time is not None and not was_refused), error
    try:
        kept = codec.with_run_time(record, 1.0)
    except UntrustedError:
        assert not accepted
    else:
        assert accepted
        assert kept == (state, record.signature)


def main():
    import atheris

    with atheris.instrument_imports(include=["jobstore.mongodb.trust"]):
        import jobstore.mongodb.trust.signatures  # noqa: F401
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
