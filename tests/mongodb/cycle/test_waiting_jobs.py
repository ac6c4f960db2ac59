"""The jobs that wait for their executors, while other threads change them."""

from jobstore.in_flight import Rooms
from jobstore.mongodb.documents import Record
from jobstore.mongodb.waiting import WaitingJobs


class Places(int):
    """A number of free places; another thread changes the job "a" while they are counted."""

    waiting: WaitingJobs

    def __le__(self, other):
        self.waiting.forget("a")
        return super().__le__(other)


def test_waiting_job_may_be_changed_while_a_cycle_admits_it():
    """The cycle of a mirrored store holds no lock."""
    waiting, places = WaitingJobs(), Places(1)
    places.waiting = waiting
    for job_id in "a", "b":
        waiting.add(Record(job_id, 0.0, b""), "slow")
    waiting.admit(Rooms({"slow": places}, False))
    assert list(waiting.current()) == ["b"]
