"""Makes the parts of a store, and connects them."""

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from ..about import Tags
from ..in_flight import Bound, InFlight
from .codec import Codec
from .connection import Connection
from .counters import Counters
from .documents import DocumentId, Record
from .hand_out import HandOut
from .health.report import Report
from .history.incidents import Incidents
from .history.recorder import Recorder
from .host import Host, Store
from .locks import Locks
from .mirroring.mirrored import Mirrored
from .presence.presence import Presence
from .readers import Reader, ReaderParts
from .recovery.recovering import Recovering
from .restored import RestoredJobs
from .sharing.claims import Claimed
from .trust.allowed import Allowed
from .trust.keys import SigningKeys
from .trust.signatures import Signatures
from .wakeups import Wakeups
from .writes.conflicts import Conflicts
from .writes.cycle import Cycles
from .writes.flush import flush
from .writes.quarantine import Quarantine
from .writes.write_behind import WriteBehind

__all__ = ["Parts", "assemble", "make_codec"]


MODES = {False: "queried", True: "mirrored", "exclusive": "exclusive"}


class Parts(NamedTuple):
    """The objects that a store shares with its `WriteThrough` and its `Lifecycle`."""

    host: Host
    connection: Connection
    locks: Locks
    quarantine: Quarantine
    write_behind: WriteBehind
    reader: Reader
    cycles: Cycles
    wakeups: Wakeups
    hand_out: HandOut
    restored_jobs: RestoredJobs
    presence: Presence
    counters: Counters
    incidents: Incidents
    report: Report
    recorder: Recorder


def make_codec(
    namespace: str,
    pickle_protocol: int,
    tags: Tags | None,
    signing_keys: SigningKeys | None,
    unsigned: Literal["quarantine", "run"],
    allow: Sequence[str] | None,
) -> Codec:
    """Make the codec of a store, from the store's arguments.

    :param namespace: the names of database and collection.
    :raises ValueError: if the keys can't be used.
    """
    signatures = None
    if signing_keys is not None:  # an empty list is an error
        signatures = Signatures(signing_keys, namespace, unsigned == "run")
    return Codec(pickle_protocol, tags, signatures, None if allow is None else Allowed(allow))


def assemble(
    store: Store,
    codec: Codec,
    connection: Connection,
    batch_size: int,
    unreadable: Literal["quarantine", "remove"],
    mirror: bool | Literal["exclusive"],
    shared: bool,
    lease: float,
    in_flight: Bound,
    fast_cron: bool,
    others: Literal["warn", "refuse", "wait"],
    history: Literal["problems", "all"] | None,
    keep: float,
) -> Parts:
    """Make the parts of a store, from arguments of the store that were checked."""
    host = Host(store, codec)
    locks, counters, incidents = Locks(), Counters(), Incidents(host, history)
    mode = "shared" if shared else MODES[mirror]
    quarantine = Quarantine(connection, codec, unreadable == "remove", counters, incidents)
    conflicts = Conflicts(codec, counters, incidents.add)
    listeners: weakref.WeakSet[Reader] = weakref.WeakSet()  # gets the reader chosen below

    def acknowledged(ids: list[DocumentId], changed: dict[DocumentId, Record | None]) -> None:
        for listener in listeners:
            listener.acknowledged(ids, changed)

    write_behind = WriteBehind(
        locks,
        counters.counting_flushes(partial(flush, connection, quarantine, codec, conflicts)),
        batch_size,
        acknowledged,
        conflicts,
    )
    cycles = Cycles()

    def has_work() -> bool:
        return cycles.in_loop or write_behind.has_pending

    presence = Presence(connection, host, counters, incidents, mode, others, lease, has_work)
    common = ReaderParts(connection, locks, write_behind, quarantine, presence, counters, incidents)
    reader: Reader
    if mirror:
        reader = Mirrored(common, follows=mirror is True)
    else:
        reader = Claimed(common, lease) if shared else Recovering(common)
    listeners.add(reader)
    restored_jobs = RestoredJobs(host, fast_cron)
    bounds = InFlight(in_flight)
    hand_out = HandOut(
        host, reader, quarantine, bounds, restored_jobs, batch_size, counters, incidents
    )
    return Parts(
        host,
        connection,
        locks,
        quarantine,
        write_behind,
        reader,
        cycles,
        Wakeups(),
        hand_out,
        restored_jobs,
        presence,
        counters,
        incidents,
        Report(connection, counters),
        Recorder(connection, host, incidents, presence, keep),
    )
