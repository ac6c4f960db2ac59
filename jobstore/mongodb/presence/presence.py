"""The presence of a store's scheduler: a document that others read, and the sight of the others.

The document is written at the start, then every 5 s, and removed at the shutdown. It is in the
collection ``<jobs>_meta``; `Scheduler` names its fields. Others ignore it once it has expired.

A start that finds the document of another process knows that a scheduler ended without a shutdown.
Or that scheduler still runs, as in a rolling deploy. Documents of the same process don't count: it
has not ended.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from math import inf
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from ..connection import START_SECONDS, UNAUTHORIZED, Connection
from ..counters import Counters
from ..documents import Document
from ..history.incidents import Incidents
from ..host import Host
from .about import executors, versions
from .activity import Activity
from .firing import Firing
from .identity import is_of_this_process, new_name
from .lease import EXPIRED
from .others import Report, is_settled, leftovers_in, others_in, refusal
from .scheduler import Scheduler, read_schedulers

__all__ = ["BEAT_SECONDS", "Presence"]

FIRST_SECONDS = 0.0  # from the end of the start to the next beat, which adds the status
BEAT_SECONDS = 5.0  # between two writes of the document
VALID_SECONDS = 30.0  # then others ignore it; a shorter lease, if the store is a standby
RETRY_SECONDS = 1.0  # from a write that failed to the next one
OLD_SECONDS = 86_400  # then anybody removes a document


class Presence:
    """Announces a store's scheduler, and sees the others.

    One thread at a time calls its methods. Any thread may look at its attributes.

    :param mode: ``"queried"``, ``"mirrored"``, ``"exclusive"`` or ``"shared"``.
    :param others: the store's argument of that name.
    :param lease: seconds for which a standby's right to fire lasts.
    :param has_work: tells whether a cycle is under way, or has left writes to flush.
    :ivar firing: the right to fire jobs.
    :ivar name: the document's `_id`; None if there is none.
    :ivar others: the names of the other schedulers that fire the same jobs without sharing them.
    :ivar leftovers: the documents of processes that ended without a shutdown, or that still run.
    """

    def __init__(
        self,
        connection: Connection,
        host: Host,
        counters: Counters,
        incidents: Incidents,
        mode: str,
        others: str,
        lease: float,
        has_work: Callable[[], bool],
    ) -> None:
        self._connection, self._host, self._counters = connection, host, counters
        self._incidents, self._mode, self._argument = incidents, mode, others
        self._activity = Activity(host, has_work)
        waits = others == "wait"
        self.firing = Firing(connection, host, incidents, self._activity, waits, lease)
        self._valid_seconds = min(lease, VALID_SECONDS) if waits else VALID_SECONDS
        self._beat_seconds = min(BEAT_SECONDS, self._valid_seconds / 3)
        # A command of a beat must not delay the renewal of the lease for long.
        self._command_seconds = lease / 6 if waits else None
        self._next_beat = -inf  # by the monotonic clock
        self._write_lock = threading.Lock()  # the last state told is the last one written
        self._noticed_state = self._told_state = ""
        self._report = Report()
        self._parent_name: str | None = None
        self._is_failing = False
        self._seen_at_start: set[tuple[str, datetime | None]] = set()
        self._recovered: set[str] = set()  # leftovers that no later start has to find
        self.name: str | None = None
        self.others: tuple[str, ...] = ()
        self.leftovers: list[str] = []
        _living[id(self)] = self

    @property
    def may_fire(self) -> bool:
        """Whether the store has the right to fire jobs now."""
        return self.firing.may_fire

    @property
    def state(self) -> str:
        """What the scheduler does with this store; `Scheduler` names the states."""
        state = self._activity.state
        if state in ("idle", "paused"):
            return state
        return "firing" if self.may_fire and not self.firing.stands_by else "waiting"

    # From the start to the shutdown

    def begin(self) -> None:
        """Announce the scheduler, and look for others; 2 commands.

        Without the right to write, a warning is logged.

        :raises ValueError: if others fire the same jobs, and the store refuses that; if the store
            lacks the right to write, and its argument `others` depends on it.
        :raises pymongo.errors.PyMongoError: if the server can't be reached.
        """
        self._activity.begin()
        self.firing.begin()
        self._noticed_state = self.state
        self._report = Report()
        self._next_beat, self._is_failing = time.monotonic() + self._beat_seconds, False
        self.others, self.leftovers = (), []
        self.name = self.name or new_name()
        try:
            self._write(self.name, {}, START_SECONDS)
            found = read_schedulers(self._connection, START_SECONDS, brief=True)
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.name = None
            self._lacks_rights(error)
            return
        self._note_leftovers(found)
        if self._argument == "refuse" and self._host.scheduler and (others := self._others(found)):
            self.end()
            raise ValueError(refusal(self._connection.jobs.full_name, others))
        self._seen_at_start = {(each.id, each.seen) for each in found}

    def started(self) -> None:
        """Announce the status soon, as the start is over, and ask for the right to fire."""
        self._next_beat = time.monotonic() + FIRST_SECONDS
        if self._host.scheduler is not None:  # else nobody would fire
            self.firing.ask_soon()

    def _lacks_rights(self, error: OperationFailure) -> None:
        meta = self._connection.meta.full_name
        if self._argument != "warn":
            raise ValueError(
                f"others is {self._argument!r}, but this user has no right to write to {meta}, "
                "where schedulers find each other: grant find, insert, update and remove there, or "
                'say others="warn"'
            ) from error
        self._host.logger.warning(
            "No right to write to %s: schedulers don't see this one, and a start can't tell how "
            "the last process ended, so a job that ends its process runs again at each start",
            meta,
        )

    def end(self) -> None:
        """Announce a clean shutdown; 1 command, 2 of a standby.

        Never raises an error of the database.
        """
        name, self.name = self.name, None
        self._activity.end()
        self.others = ()
        leave = self.farewell(name)
        self.firing.reset()  # first: a cycle that is under way fires no other job
        if name is not None:
            leave()

    def farewell(self, name: str | None) -> Callable[[], None]:
        """Return a function that does so for a store that may be gone; it doesn't hold this object.

        The document goes first: a standby that takes over must not find it, as after a crash.
        """
        connection, lease = self._connection, self.firing.lease

        def leave() -> None:
            try:
                with connection.limit():
                    connection.meta.delete_one({"_id": name})
                lease.give_back()
            except PyMongoError:
                pass  # both end by themselves; the next start begins a recovery

        return leave

    def forked(self) -> None:
        """In a forked process: leave the document to the parent, which still runs."""
        self._parent_name = self.name or self._parent_name
        self.name = None
        self._write_lock = threading.Lock()
        self._activity.end()
        self.firing.reset()

    # In a thread of the store

    def step(self, status: Callable[[], Mapping[str, Any]]) -> float:
        """Do the work for which it is time; return the seconds until the next step.

        Takes 2 commands every 5 s, 1 for each obsolete document, and those for the lease. Never
        raises an error of the database.

        :param status: returns the store's status, for the document.
        """
        name = self.name
        if name is None:
            return self._beat_seconds
        leave = self.farewell(name)
        self._notice_change()
        try:
            if time.monotonic() >= self.firing.next_request:
                self.firing.request(name, self._unfenced)
            if time.monotonic() >= self._next_beat:
                self._beat(name, status)
                self._is_failing = False
        except Exception as error:
            self._next_beat = time.monotonic() + RETRY_SECONDS
            if not self._is_failing and self.name == name:
                self._is_failing = True
                self._host.logger.warning(
                    "Unable to tell other schedulers that this one runs, trying again: %s", error
                )
        self.firing.still_fires()
        if self.name != name:  # shut down meanwhile, perhaps before the document was written
            leave()
        return max(0.0, min(self._next_beat, self.firing.next_request) - time.monotonic())

    def _notice_change(self) -> None:
        """Tell the others of a new state at once, and ask for the lease or give it back."""
        state = self.state
        if state != self._noticed_state:
            self._noticed_state = state
            self.beat_soon()
            self.firing.look_soon()

    def beat_soon(self) -> None:
        """Write the document in the next step."""
        self._next_beat = -inf

    def _beat(self, name: str, status: Callable[[], Mapping[str, Any]]) -> None:
        self._next_beat = time.monotonic() + self._beat_seconds
        with self._connection.limit(self._command_seconds):
            current = status()
        self._write(name, current, self._command_seconds)
        found = read_schedulers(self._connection, self._command_seconds, brief=True)
        self._see(found)
        living = _living_names()
        self._remove([each.id for each in found if self._is_obsolete(each, living)])

    def _write(self, name: str, status: Mapping[str, Any], seconds: float | None = None) -> None:
        """Write the document; 1 command, idempotent."""
        with self._write_lock:
            self._told_state = ""  # unknown until the reply
            state = self.state
            self._write_all(name, state, status, seconds)
            self._told_state = state

    def _write_all(
        self, name: str, state: str, status: Mapping[str, Any], seconds: float | None
    ) -> None:
        literals: Document = {
            "mode": self._mode,
            "others": self._argument,
            "history": self._incidents.history,
            "state": state,
            "versions": versions(),
            "executors": executors(self._host.scheduler),
            "clock": datetime.now(timezone.utc),
            "counters": self._counters.to_document(),
            "status": dict(status),
        }
        times: Document = {
            "started": {"$ifNull": ["$started", "$$NOW"]},
            "seen": "$$NOW",
            "expires": {"$add": ["$$NOW", round(self._valid_seconds * 1000)]},
        }
        # A text that begins with a dollar would name a field.
        fields = {key: {"$literal": value} for key, value in literals.items()} | times
        with self._connection.limit(seconds):
            self._connection.meta.update_one({"_id": name}, [{"$set": fields}], upsert=True)

    def before_firing(self) -> None:
        """Make sure that the document says ``"firing"`` before a job is handed out.

        Takes 1 command after a takeover and after a resume, else none. A job may end its process at
        once, and only this document tells the next start. Never raises an error of the database.
        """
        self._activity.sees_run()  # a step of the store's thread may come too late for that
        if self.name is None or self._told_state == "firing" or self.state != "firing":
            return
        with self._write_lock:
            if self._told_state == "firing":
                return
            self._told_state = "firing"  # also if the write fails: a beat tries it again
            try:
                with self._connection.limit(self._command_seconds):
                    self._connection.meta.update_one(
                        {"_id": self.name}, {"$set": {"state": "firing"}}
                    )
            except PyMongoError:
                self.beat_soon()

    # The others

    def _others(self, found: Iterable[Scheduler]) -> list[Scheduler]:
        return others_in(found, self.name, self._mode == "shared", _living_names())

    def _see(self, found: list[Scheduler]) -> None:
        """Note the others that fire the same jobs, and log them from time to time.

        A scheduler that was seen at the start may have crashed just before. It counts once it has
        written its document again. One that has just started counts once it is settled.
        """
        fires, waits = self.state == "firing", self.firing.waits
        # Another standby may have just lost the lease that both need, and not said so yet.
        others = [
            each
            for each in self._others(found)
            if fires
            and each.state == "firing"
            and not (waits and each.others == "wait")
            and (each.id, each.seen) not in self._seen_at_start
            and is_settled(each)
        ]
        self.others = tuple(each.name for each in others)
        self._report.report(self._host.logger, self._connection.jobs.full_name, others)

    def _note_leftovers(self, found: list[Scheduler]) -> None:
        self.leftovers = leftovers_in(found, (self.name, self._parent_name))

    def _unfenced(self) -> list[Scheduler]:
        """Return the schedulers that fire jobs and don't ask for the lease; 1 command."""
        found = read_schedulers(self._connection, self._command_seconds, brief=True)
        self._note_leftovers(found)
        return [
            each for each in self._others(found) if each.state == "firing" and each.others != "wait"
        ]

    def _is_obsolete(self, scheduler: Scheduler, living: set[str | None]) -> bool:
        """Whether a document is of no use: old, recovered, or that of a store dropped here."""
        if scheduler.id == self.name or scheduler.id in living:
            return False
        is_old = scheduler.age is not None and scheduler.age > OLD_SECONDS
        is_recovered = scheduler.id in self._recovered and not scheduler.alive
        return is_old or is_recovered or is_of_this_process(scheduler.id)

    def remove_leftovers(self) -> None:
        """Remove the documents of processes whose jobs are recovered; 1 command each.

        Those of schedulers that live stay until they have expired. Never raises an error of the
        database: if the removal fails, a beat or the next start finds the documents again.
        """
        leftovers, self.leftovers = self.leftovers, []
        self._recovered.update(leftovers)
        self._remove(leftovers, {"$expr": EXPIRED})

    def _remove(self, names: list[str], condition: Document | None = None) -> None:
        """Remove documents of schedulers that have ended, and report their ends.

        A document is removed once, so one process reports the end. Not that of a store of this
        process, which may be in its shutdown.
        """
        for name in names:
            query = {"_id": name, **(condition or {})}
            try:
                with self._connection.limit():
                    found = self._connection.meta.find_one_and_delete(query, {"seen": 1})
            except PyMongoError:
                break  # the next beat finds them again
            seen = found and found.get("seen")
            if isinstance(seen, datetime) and not is_of_this_process(name):
                at = min(seen, datetime.now(timezone.utc)) + timedelta(seconds=BEAT_SECONDS)
                self._incidents.add("ended", at=at, by=name)


_living: "weakref.WeakValueDictionary[int, Presence]" = weakref.WeakValueDictionary()


def _living_names() -> set[str | None]:
    """Return the names of the stores of this process that were not dropped."""
    presences = [reference() for reference in _living.valuerefs()]  # in one step
    return {presence.name for presence in presences if presence}
