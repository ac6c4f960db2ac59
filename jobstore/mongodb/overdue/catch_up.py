"""Catching up: applies a policy to the jobs that are overdue when a store starts.

Each write is guarded, so changes and leases of other schedulers win. Each job leaves the range of
the overdue ones. So after an error the next start goes on with the jobs that are left.
"""

from collections.abc import Iterator
from datetime import datetime, timezone

from pymongo import ASCENDING
from pymongo.errors import PyMongoError

from ..arguments import spread_seconds
from ..codec import Codec
from ..collector import collector_paused
from ..connection import READ_BATCH, START_SECONDS, Connection
from ..documents import MIN_TIME, Document, hashable_id, timestamp
from ..history.incidents import Incidents
from ..host import Host
from ..recovery.attempts import COUNTED_FIELDS
from ..sharing.lease import UNLEASED
from ..slow_line.pace import split_by_bytes
from ..slow_line.paced import limited_and_measured, timed_out
from ..slow_line.sizes import SIZE, size_of
from ..writes.guarded import GuardedWrite, size
from ..writes.sending import send
from . import held
from .policies import Hold, Policy, Skip, Spread
from .recorded import Recorded

__all__ = ["CatchUp"]

MAX_PART_BYTES = 12_000_000  # of states that are in memory at a time
MAX_ROUNDS = 5  # for jobs that others keep changing without another run time


class CatchUp:
    """Applies the store's policy once in each start.

    :param catch_up: the store's argument of that name, checked.
    :param overdue: the same; a job is overdue if its run time lies further back.
    """

    def __init__(
        self,
        connection: Connection,
        host: Host,
        incidents: Incidents,
        catch_up: str,
        overdue: float,
    ) -> None:
        self._connection, self._host, self._incidents = connection, host, incidents
        self._catch_up, self._overdue = catch_up, overdue

    def run(self) -> None:
        """Apply the policy to all k overdue jobs; O(log n + k), 3 or 4 commands for each 1,000.

        ``"fire"`` sends no command, and the others 1 if no job is overdue. Writes one line to the
        log, also after an error.

        :raises pymongo.errors.PyMongoError: if the server can't be reached. The next start goes on.
        """
        if self._catch_up == "fire":
            return
        now = datetime.now(timezone.utc)
        before = timestamp(now) - self._overdue
        is_overdue: Document = {"next_run_time": {"$gte": MIN_TIME, "$lt": before}}
        policy = self._policy(now, is_overdue)
        if policy is None:
            return
        recorded = Recorded(self._connection, self._incidents, policy.kind, self._catch_up)
        catching_up = _Pass(self._connection, self._host.codec, is_overdue, policy, recorded)
        remaining = "the others stay overdue after an error"
        try:
            catching_up.run()
            if catching_up.has_found:
                remaining = self._remaining(is_overdue)
        finally:
            if catching_up.has_found:
                self._host.logger.warning(  # shown by default: runs were moved or dropped
                    'catch_up="%s", jobs overdue for more than %g s: %s %s, %s removed, %s',
                    self._catch_up,
                    self._overdue,
                    f"{catching_up.updated:,}",
                    policy.outcome,
                    f"{catching_up.removed:,}",
                    remaining,
                )

    def _policy(self, now: datetime, is_overdue: Document) -> Policy | None:
        """Make the policy of this start; None if there is nothing to spread."""
        if self._catch_up == "skip":
            return Skip(self._host, now)
        if self._catch_up == "hold":
            return Hold(self._host.codec, held.mark())
        count = self._count(is_overdue | UNLEASED)
        seconds = spread_seconds(self._catch_up)
        assert seconds is not None
        return Spread(self._host.codec, now, seconds, count) if count else None

    def _remaining(self, is_overdue: Document) -> str:
        try:
            return f"{self._count(is_overdue):,} left as they are"
        except PyMongoError as error:  # only the log wants the number
            return f"others may be left ({error})"

    def _count(self, query: Document) -> int:
        with self._connection.limit(START_SECONDS):
            return self._connection.jobs.count_documents(query)


class _Pass:
    """One pass over the overdue jobs, in the order of their run times.

    :ivar updated, removed: the numbers of jobs so far.
    :ivar has_found: whether any job was overdue.
    """

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        is_overdue: Document,
        policy: Policy,
        recorded: Recorded,
    ) -> None:
        self._connection, self._codec = connection, codec
        self._policy, self._recorded = policy, recorded
        self._free = is_overdue | UNLEASED
        self.updated = self.removed = 0
        self.has_found = False

    def run(self) -> None:
        """Read and write the jobs, in parts that the line carries and that memory holds."""
        for keys in self._keys():
            self.has_found = True
            for documents in self._parts(keys):
                for _ in range(MAX_ROUNDS):
                    documents = self._apply(documents)
                    if not documents:
                        break

    def _keys(self) -> Iterator[list[Document]]:
        """Yield ids and sizes in batches; 1 command for each 1,000.

        One cursor reads all of them, as the index has no order for jobs of the same run time. The
        writes don't confuse it: they move jobs out of its range.
        """
        by_time = [("next_run_time", ASCENDING)]
        cursor = self._connection.jobs.find(self._free, {"size": SIZE}, sort=by_time)
        return self._connection.read_batches(cursor.batch_size(READ_BATCH), START_SECONDS)

    def _parts(self, keys: list[Document]) -> Iterator[list[Document]]:
        """Read the documents; 1 command, more if they are large. A time-out is tried again once."""
        has_failed = False
        while keys:
            budget = min(MAX_PART_BYTES, self._connection.cycle_budget)
            part = next(split_by_bytes(keys, size_of, budget))
            try:
                documents = self._read(part)
            except PyMongoError as error:
                if has_failed or not timed_out(error):
                    raise
                has_failed = True
                continue
            has_failed = False
            yield documents
            keys = keys[len(part) :]

    def _read(self, keys: list[Document]) -> list[Document]:
        """Read the documents that are still overdue and free, in the order of the keys."""
        connection = self._connection
        query = self._free | {"_id": {"$in": [key["_id"] for key in keys]}}
        with (
            limited_and_measured(
                connection, connection.reading, lambda: sum(map(size_of, keys))
            ) as seconds,
            connection.limit(seconds),
        ):
            found = list(connection.jobs.find(query, COUNTED_FIELDS, batch_size=len(keys) + 1))
        by_id = {hashable_id(document["_id"]): document for document in found}
        places = (hashable_id(key["_id"]) for key in keys)
        return [by_id[place] for place in places if place in by_id]

    def _apply(self, documents: list[Document]) -> list[Document]:
        """Apply the policy; return the documents that others changed and that are still overdue."""
        with collector_paused():
            writes = [write for write in map(self._policy.write_for, documents) if write]
        updates = [write for write in writes if not write.removes]
        removals = [write for write in writes if write.removes]
        updated, changed = self._write(updates)
        self.updated += updated
        removed, also_changed = self._write(removals)
        self.removed += removed
        return changed + also_changed

    def _write(self, writes: list[GuardedWrite]) -> tuple[int, list[Document]]:
        """Send writes; return how many applied, and the documents to try again.

        After an error they are sent again once, when a server answers. That is idempotent. Then the
        number includes jobs that others have moved out of the way. It also does so if the server
        refuses some.
        """
        applied, changed = 0, []
        in_doubt = False
        while writes:
            part = next(split_by_bytes(writes, size, self._connection.writing.budget))
            try:
                number, refused = send(self._connection, self._codec, part)
            except PyMongoError:
                if in_doubt:
                    raise
                in_doubt = True
                self._connection.now(START_SECONDS)  # an election may be under way
                continue
            self._recorded.add(part, all_applied=number == len(part))
            if number < len(part):
                again = self._read([{"_id": each.record.id, "size": size(each)} for each in part])
                refused_ids = {hashable_id(write.record.id) for write, _ in refused}
                changed += [each for each in again if hashable_id(each["_id"]) not in refused_ids]
                if in_doubt or refused:  # the server doesn't count all that has applied
                    number = len(part) - len(again)
            applied += number
            in_doubt = False
            writes = writes[len(part) :]
        return applied, changed
