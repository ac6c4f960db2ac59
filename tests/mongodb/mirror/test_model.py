"""The mirror without a database, against a model of a server, with events in any order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobstore.mongodb.documents import Record
from jobstore.mongodb.locks import Locks
from jobstore.mongodb.mirroring.mirror import Mirror
from jobstore.mongodb.summary import Summary
from jobstore.mongodb.trust.signatures import TRUSTED
from jobstore.mongodb.writes.guarded import GuardedWrite
from jobstore.mongodb.writes.write_behind import WriteBehind
from support.conflicts import conflicts
from support.jobs import at

IDS = st.sampled_from("ab")
TIMES = st.one_of(st.none(), st.integers(0, 3))


def document(job_id, seconds, state):
    run_time = None if seconds is None else at(seconds).timestamp()
    return {"_id": job_id, "next_run_time": run_time, "job_state": state}


class Server:
    """A collection, and its events that the mirror has not yet received."""

    def __init__(self):
        self.documents = {}
        self.events = []
        self.time = 1

    def write(self, job_id, document):
        """Put or remove a document; adds an event if the document changes."""
        before = self.documents.get(job_id)
        if before == document:
            return
        self.time += 1
        event = {"documentKey": {"_id": job_id}, "operationType": "delete"}
        if document is None:
            del self.documents[job_id]
        else:
            self.documents[job_id] = document
            event |= {"operationType": "replace" if before else "insert", "fullDocument": document}
            if before and self.time % 2:
                changed = {name: value for name, value in document.items() if before[name] != value}
                del event["fullDocument"]
                event |= {
                    "operationType": "update",
                    "updateDescription": {"updatedFields": changed, "removedFields": []},
                }
        self.events.append((self.time, event))


class Followed(RuleBasedStateMachine):
    """The mirror, a second writer, and our write-through and write-behind; replies get lost."""

    def __init__(self):
        super().__init__()
        self.server = Server()
        self.locks = Locks()
        self.write_behind = WriteBehind(self.locks, self.send, 1000, self.acknowledged, conflicts())
        self.mirror = Mirror(self.locks, self.write_behind, follows=True)
        self.known = 0  # the latest operation time in a reply to our client
        self.ours = {}  # id -> our latest write, unless others have written since
        self.states = 0
        self.plan = []  # steps during a flush, the last one first
        self.mirror.load([])
        self.mirror.loaded(1)
        self.mirror.stream_reached(1)
        assert self.mirror.go_live(0)

    def state(self):
        self.states += 1
        return b"%d" % self.states

    def write_by_others(self, job_id, document):
        self.server.write(job_id, document)
        self.ours.pop(job_id, None)

    @rule(job_id=IDS, seconds=TIMES)
    def others_write(self, job_id, seconds):
        self.write_by_others(job_id, document(job_id, seconds, self.state()))

    @rule(job_id=IDS)
    def others_remove(self, job_id):
        self.write_by_others(job_id, None)

    @rule(job_id=IDS, seconds=TIMES, late=st.integers(0, 3))
    def we_write_through(self, job_id, seconds, late):
        self.flush_all()
        new = document(job_id, seconds, self.state())
        self.server.write(job_id, new)
        written = self.server.time
        self.deliver_events(late)  # events may arrive before the reply
        self.mirror.wrote({job_id: Record.of(new)}, written)
        self.ours[job_id] = Record.of(new)

    @rule(job_id=IDS)
    def we_remove(self, job_id):
        self.flush_all()
        self.server.write(job_id, None)
        self.mirror.wrote({job_id: None}, self.server.time)
        self.ours[job_id] = None

    @rule(job_id=IDS, seconds=TIMES, ends=st.booleans())
    def we_defer(self, job_id, seconds, ends):
        found = self.mirror.find(job_id)
        if found is None:
            return
        new = document(job_id, seconds, self.state())
        write = GuardedWrite(
            self.mirror._get(job_id),
            None if ends else new["next_run_time"],
            None if ends else new["job_state"],
        )
        self.write_behind.add(write, self.mirror.apply_optimistically)
        if self.write_behind._timer:
            self.write_behind._timer.cancel()
        assert self.mirror._get(job_id) == write.after

    def acknowledged(self, ids, changed):
        self.mirror.acknowledged(ids, changed, self.known)

    def send(self, writes, changed, sent_before, logger):
        """Act as `flush`, with planned failures, writes by others and events."""
        for job_id, write in list(writes.items()):
            step = self.plan.pop() if self.plan else None
            if step == "others":
                self.write_by_others(job_id, document(job_id, 2, self.state()))
            if step == "fail":
                raise ConnectionError
            there = self.server.documents.get(job_id)
            theirs = there and Record.of(there)
            remaining = conflicts().decide(write, theirs, Summary())
            if remaining is not None:
                after = remaining.after and document(job_id, None, remaining.state) | {
                    "next_run_time": remaining.run_time
                }
                self.server.write(job_id, after)
                if remaining is write:
                    self.ours[job_id] = remaining.after
            if step == "stream":
                self.deliver_events(9)
            if step == "lose":
                raise ConnectionError
            if remaining is not write:
                changed[job_id] = remaining.after if remaining else theirs
            del writes[job_id]
            self.known = self.server.time

    STEPS = st.lists(st.sampled_from(["others", "fail", "stream", "lose", None]), max_size=4)

    @rule(plan=STEPS)
    def flush(self, plan):
        self.plan = plan
        try:
            self.write_behind.flush()
        except ConnectionError:
            return
        finally:
            self.plan = []

    def flush_all(self):
        self.write_behind.flush()

    @rule(count=st.integers(1, 3))
    def deliver_events(self, count):
        for time, event in self.server.events[:count]:
            self.mirror.apply(event)
            self.mirror.stream_reached(time)
        del self.server.events[:count]
        if not self.server.events:
            self.mirror.stream_reached(self.server.time)

    @invariant()
    def older_changes_never_hide_our_latest_write(self):
        for job_id, record in self.ours.items():
            if job_id not in self.write_behind.writes:
                assert self.mirror._get(job_id) == record, (job_id, record)

    @invariant()
    def index_is_in_order_of_run_times(self):
        self.mirror._index._check()
        due = self.mirror.due(at(10).timestamp(), 10, {})
        assert [record.run_time for record in due] == sorted(record.run_time for record in due)

    @precondition(lambda self: not self.write_behind.has_pending)
    @rule()
    def mirror_equals_server_when_nothing_is_pending(self):
        self.deliver_events(1000)
        assert {each["_id"]: each for each in self.mirror.all()} == self.server.documents
        assert self.mirror._unconfirmed == {}

    def teardown(self):
        self.plan = []
        self.flush_all()
        self.mirror_equals_server_when_nothing_is_pending()


TestFollowed = Followed.TestCase
TestFollowed.settings = settings(max_examples=300, stateful_step_count=40)


@pytest.fixture
def mirror():
    locks = Locks()
    write_behind = WriteBehind(locks, lambda *_: None, 1000, lambda *_: None, conflicts())
    mirror = Mirror(locks, write_behind, follows=True)
    mirror.load([])
    return mirror


@pytest.fixture
def live(mirror):
    mirror.loaded(1)
    mirror.stream_reached(1)
    assert mirror.go_live(0)
    return mirror


def test_mirror_is_not_live_before_the_stream_reaches_the_time_of_the_load(mirror):
    assert not mirror.go_live(0)
    mirror.loaded(10)
    assert not mirror.go_live(0)
    mirror.stream_reached(9)
    assert not mirror.go_live(0)
    mirror.stream_reached(10)
    assert not mirror.go_live(11), "our own write is still to come"
    mirror.stream_reached(11)
    assert mirror.go_live(11)
    mirror.reset()
    assert not mirror.live


def test_invalid_documents_are_set_apart(live):
    good = document("a", 1, b"1")
    invalid = [document(5, 1, b"1"), document("b", 1, b"1") | {"next_run_time": "now"}]
    mark = {"reason": "", "next_run_time": None}
    live.load([good, *invalid, document(6, None, b"1") | {"quarantine": mark}])
    for job_id in (7, {"a": 1}):
        event = {"operationType": "insert", "fullDocument": document(job_id, 1, b"1")}
        live.apply(event | {"documentKey": {"_id": job_id}})
    assert [record.id for record in live.invalid] == [5, "b", 7, {"a": 1}]
    assert live.all() == [good, document("b", None, b"1")]


def test_events_set_and_clear_the_quarantine_mark(live):
    live.load([document("a", 1, b"1")])
    mark = {"reason": "why", "next_run_time": 1.0}
    key = {"documentKey": {"_id": "a"}}
    marked = document("a", None, b"1") | {"quarantine": mark}
    live.apply(key | {"operationType": "replace", "fullDocument": marked})
    assert live.find("a") == marked
    changes = {"updatedFields": {"next_run_time": 1.0}, "removedFields": ["quarantine"]}
    live.apply(key | {"operationType": "update", "updateDescription": changes})
    assert live.find("a") == document("a", None, b"1") | {"next_run_time": 1.0}


def test_events_change_parts_of_a_signature(live):
    key = {"documentKey": {"_id": "a"}, "operationType": "update"}
    signed = document("a", 1, b"1") | {"signature": {"by": "k", "of": b"1"}}
    live.load([signed])
    before = live._get("a")
    changes = {"updatedFields": {"job_state": b"2", "signature.of": b"2"}, "removedFields": []}
    live.apply(key | {"updateDescription": changes})
    assert live._get("a").signature == ("k", b"2")
    assert live.find("a")["signature"] == {"by": "k", "of": b"2"}
    assert live._get("a").state == b"2"
    assert before.signature == ("k", b"1")
    changes = {"updatedFields": {}, "removedFields": ["signature.by"]}
    live.apply(key | {"updateDescription": changes})
    assert live._get("a").signature == {"of": b"2"}


def test_event_makes_no_state_of_others_a_trusted_one(live):
    """Only an own write is trusted, and the stream has always reported what came before it."""
    live.load([document("a", 1, b"1")])
    live._put("a", live._get("a"), Record("a", 1.0, b"ours", signature=TRUSTED))
    changes = {"updatedFields": {"job_state": b"theirs"}, "removedFields": []}
    event = {"documentKey": {"_id": "a"}, "operationType": "update", "updateDescription": changes}
    live.apply(event)
    assert live._get("a") == Record("a", 1.0, b"theirs")
