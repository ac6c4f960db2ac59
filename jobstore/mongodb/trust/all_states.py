"""Verifies and signs the states of a whole collection, for the program that an operator runs.

Nothing is unpickled: the inert reader reads the states, and lists the names in them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from ...describe import JobInfo, describe, read_job
from ...inert.names import names_in
from ...looking import check_limit
from ...run_times import UnreadableError
from ..connection import TRANSIENT, Connection
from ..documents import REPLACEMENT, Document
from ..looking.places import place_of
from ..looking.walk import BATCH, BATCH_BYTES, walk
from ..overdue.held import same_state
from ..queries import batched, id_filter
from ..slow_line.paced import in_parts
from ..slow_line.sizes import bytes_of, id_bytes
from .signatures import SIGNATURE, Signatures
from .untrusted import UnknownKeyError, UntrustedError

__all__ = ["UnverifiedJob", "Verification", "sign", "unverified", "verify"]

Progress = Callable[[int, int], object]
LEAST_PAGE = 200  # documents in a query, if few of those before did not verify
OVERHEAD = 300  # bytes of a document without its state and its id


class Verification(NamedTuple):
    """Counts of the documents in a collection by their signatures; those in quarantine count, too.

    :ivar valid: the number of states with a valid signature.
    :ivar unsigned: the number of jobs without a signature.
    :ivar wrong: the number of documents with a wrong or a damaged signature, and of those without
        one that are no jobs, and so can't be signed.
    :ivar unknown: the number of states whose signatures name a key that this store doesn't have.
    :ivar by_key: the number of states with a valid signature, by the id of the key. An old key is
        no longer needed when it isn't among them.
    """

    valid: int
    unsigned: int
    wrong: int
    unknown: int
    by_key: dict[str, int]


class UnverifiedJob(NamedTuple):
    """A document whose state has no valid signature.

    :ivar info: the job's description. Nothing of its state was imported or called.
    :ivar reason: why the state doesn't verify.
    :ivar names: each class and function that the state names, as ``module:qualname``, sorted. An
        empty tuple shows a document that is no job: it is never signed.
    :ivar digest: the SHA-256 of the state; empty if the document has no binary state.
    """

    info: JobInfo
    reason: str
    names: tuple[str, ...]
    digest: bytes

    @property
    def id(self) -> Any:
        """The document's `_id`, of any type."""
        return self.info.id

    @property
    def key(self) -> str:
        """The job's place among all, to be given to `unverified` as `after`."""
        return self.info.key

    @property
    def can_be_signed(self) -> bool:
        """Whether the document is a job: its state names its trigger's class at least."""
        return bool(self.names)


def verify(
    connection: Connection, signatures: Signatures, progress: Progress | None
) -> Verification:
    """Count all documents by their signatures; documented in the store."""
    total = 0
    if progress:
        with connection.limit():
            total = connection.jobs.estimated_document_count()
    kinds: Counter[str] = Counter()
    by_key: Counter[str] = Counter()
    done = 0
    for page in walk(connection, partial(_kind, signatures)):
        kinds.update(kind for kind, _ in page)
        by_key.update(key_id for _, key_id in page if key_id)
        done += len(page)
        if progress:
            progress(done, max(done, total))
    return Verification(
        kinds["valid"], kinds["unsigned"], kinds["wrong"], kinds["unknown"], dict(by_key)
    )


def _kind(signatures: Signatures, document: Document) -> tuple[str, str | None]:
    """Return the name of a document's count, and the id of the key if its signature is valid."""
    job_id, state, signature = document["_id"], document.get("job_state"), document.get(SIGNATURE)
    try:
        return "valid", signatures.verify(job_id, state, signature)
    except UnknownKeyError:
        return "unknown", None
    except UntrustedError:
        return ("unsigned" if signature is None and _is_job(job_id, state) else "wrong"), None


def _is_job(job_id: Any, state: Any) -> bool:
    try:
        _check_job(job_id, state)
    except UnreadableError:
        return False
    return True


def _check_job(job_id: Any, state: Any) -> None:
    """Refuse a document that must not be signed.

    :raises UnreadableError: if it isn't a job with that id.
    """
    if type(job_id) is not str or REPLACEMENT in job_id:
        raise UnreadableError("its id is no text in UTF-8")
    if type(state) is not bytes:  # a subclass is BSON of another subtype, which no store writes
        raise UnreadableError("its job_state is not binary")
    read_job(job_id, state)


def unverified(
    connection: Connection,
    signatures: Signatures,
    after: UnverifiedJob | JobInfo | str | None,
    limit: int,
) -> list[UnverifiedJob]:
    """Return a page of the documents that don't verify; documented in the store."""
    check_limit(limit)
    after = after.info if isinstance(after, UnverifiedJob) else after
    place = None if after is None else place_of(after)
    found: list[UnverifiedJob] = []
    most = min(BATCH, max(limit, LEAST_PAGE))
    for page in walk(connection, partial(_unverified, signatures), place, most):
        found += [job for job in page if job]
        if len(found) >= limit:
            return found[:limit]
    return found


def _unverified(signatures: Signatures, document: Document) -> UnverifiedJob | None:
    """Describe a document; None if its signature is valid."""
    job_id: Any = document["_id"]
    state: Any = document.get("job_state")
    try:
        signatures.verify(job_id, state, document.get(SIGNATURE))
    except UntrustedError as error:
        reason = str(error)
    else:
        return None
    names: tuple[str, ...] = ()
    try:
        _check_job(job_id, state)
        names = names_in(state)
    except UnreadableError:
        pass  # the description has the reason
    digest = sha256(state).digest() if isinstance(state, bytes) else b""
    return UnverifiedJob(describe(document), reason, names, digest)


def sign(
    connection: Connection, signatures: Signatures, jobs: Iterable[UnverifiedJob]
) -> list[str]:
    """Sign the states that were listed, and return the ids; documented in the store."""
    signed: list[str] = []
    for batch in batched(jobs, BATCH):
        listed = [job for job in batch if type(job.id) is str]
        reading = partial(_read, connection, signatures)
        for writes in in_parts(
            connection, connection.reading, listed, _bytes_of, reading, BATCH_BYTES
        ):
            signed += _write(connection, writes)
    return signed


class Signing(NamedTuple):
    """The guarded write of a signature, and the bytes of the document."""

    id: str
    signature: Document
    write: UpdateOne
    size: int


def _bytes_of(job: UnverifiedJob) -> int:
    return OVERHEAD + id_bytes(job.id) + (job.info.bytes or 0)


def _read(
    connection: Connection, signatures: Signatures, jobs: list[UnverifiedJob], in_doubt: bool
) -> list[Signing]:
    """Read the states again, and return the writes for those that are as they were listed."""
    listed = {(job.id, job.digest) for job in jobs}
    query = {"_id": {"$in": [job.id for job in jobs]}}
    signings: list[Signing] = []
    with connection.limit():
        for document in connection.jobs.find(query, ["job_state"], batch_size=len(jobs) + 1):
            job_id: Any = document["_id"]
            state: Any = document.get("job_state")
            if not _is_job(job_id, state) or (job_id, sha256(state).digest()) not in listed:
                continue
            signature = signatures.sign(job_id, state)
            # Of a very large state the filter compares the size alone. If another one of the same
            # size takes its place just now, that one gets a signature which is wrong for it.
            write = UpdateOne(
                id_filter(job_id) | same_state(state), {"$set": {SIGNATURE: signature}}
            )
            signings.append(Signing(job_id, signature, write, bytes_of([document])))
    return signings


def _write(connection: Connection, signings: list[Signing]) -> list[str]:
    """Write signatures, and return the ids of the jobs that have got them; 1 command, or 2.

    A repeated write changes nothing. The server may refuse a document, which a validator rejects,
    or which would get too large. That one is left, and the others are written.
    """

    def act(some: list[Signing], in_doubt: bool) -> list[str]:
        try:
            with connection.session() as session:
                writes = [each.write for each in some]
                result = connection.jobs.bulk_write(writes, ordered=False, session=session)
            if result.matched_count == len(some):
                return [each.id for each in some]
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(e["code"] in TRANSIENT for e in failed):
                raise
        return _signed(connection, some)

    parts = in_parts(connection, connection.writing, signings, lambda each: each.size, act)
    return list(chain.from_iterable(parts))


def _signed(connection: Connection, signings: list[Signing]) -> list[str]:
    """Return the ids of the jobs that have these signatures; 1 command."""
    query = {"_id": {"$in": [each.id for each in signings]}}
    with connection.limit():
        found = connection.jobs.find(query, [SIGNATURE], batch_size=len(signings) + 1)
        stored = {document["_id"]: document.get(SIGNATURE) for document in found}
    return [each.id for each in signings if stored.get(each.id) == each.signature]
