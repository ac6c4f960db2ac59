"""The firing lease, checked in every order of its steps, which are real commands.

Two standbys ask for the lease, once or twice each. The steps of a request are the command before it
reaches the server, and its reply before the process sees it. So a process may stand still before,
between and after these. A third actor lets time pass, or kills the first standby. After each step
the test looks which of the two may fire: never both.

In the last model they fire a job, too, which only one of them may do, and once.
"""

import logging
from collections import Counter
from types import SimpleNamespace

import pytest
from pymongo import MongoClient

from jobstore.mongodb.connection import Connection
from jobstore.mongodb.presence import firing, lease
from jobstore.mongodb.writes.cycle import DueJobs
from support.commands import Commands
from support.interleavings import every_order, step
from support.waiting import until

pytestmark = pytest.mark.slow

SECONDS = 10


class Steps(Commands):
    """Makes a step of each command, and of each reply."""

    def __init__(self, after_step):
        super().__init__()
        self.after_step = after_step

    def started(self, event):
        if event.command_name == "findAndModify":
            self._step()

    def succeeded(self, event):
        if event.command_name == "findAndModify":
            self._step()

    def _step(self):
        step()
        self.after_step()


class Clock:
    """The monotonic clock of both processes, which may jump together with the server's."""

    def __init__(self, meta):
        self._meta = meta
        self._now = 1000.0

    def monotonic(self):
        return self._now

    def advance(self, seconds):
        """Let time pass, for the processes and for the server."""
        self._now += seconds
        earlier = {"$subtract": ["$expires", seconds * 1000]}
        self._meta.update_many({"_id": "firing"}, [{"$set": {"expires": earlier}}])


class World:
    def __init__(self, server, name, monkeypatch):
        self.plain = MongoClient(server.uri)
        self.stepped = MongoClient(server.uri, event_listeners=[Steps(self.look)])
        self.meta = self.plain[name]["jobs_meta"]
        self.connection = Connection(name, "jobs", self.stepped, {})
        self.clock = Clock(self.meta)
        self.standbys = []
        self.orders_by_firing = Counter()
        monkeypatch.setattr(lease, "time", self.clock)
        monkeypatch.setattr(firing, "time", self.clock)

    def begin(self):
        self.meta.delete_many({})
        silent = logging.getLogger("model")
        silent.disabled = True
        host = SimpleNamespace(logger=silent, scheduler=None)
        incidents = SimpleNamespace(add=lambda *args, **more: None)
        activity = SimpleNamespace(state="firing")
        self.standbys = [
            firing.Firing(self.connection, host, incidents, activity, True, SECONDS)
            for _ in range(2)
        ]
        self.most_at_once = 0
        self.fired = []  # by which standby, each time

    def look(self):
        firing = sum(each.may_fire for each in self.standbys)
        self.most_at_once = max(self.most_at_once, firing)
        self.orders_by_firing[firing] += 1

    def ask(self, number):
        right = self.standbys[number]
        held = right.lease
        right.request(f"scheduler:{number}:1:x", list)
        if right.lease is not held:  # shut down meanwhile, as `Presence.step` notices
            held.give_back()
        self.look()

    def cycle(self, number, step=step):
        """Fire the job if it is due, as a cycle of the store does: `_next_cycle`, `may_fire`."""
        right = self.standbys[number]
        fence = right.fence
        if right.still_fires() and right.stands_by:
            right.took_over(right.leases)
        if right.still_fires() and not right.stands_by:
            step()
            jobs = DueJobs([] if self.fired else ["job"])
            jobs.fence = fence
            step()
            self.fired += [number for _ in jobs]

    def shut_down(self, number):
        right = self.standbys[number]
        given_back = right.lease
        right.reset()
        given_back.give_back()

    def close(self):
        self.plain.close()
        self.stepped.close()


@pytest.fixture
def world(server, database, monkeypatch):
    world = World(server, database.name, monkeypatch)
    yield world
    world.close()


def explore(world, meanwhile, check, requests=(2, 2)):
    """Let both standbys ask, and something happen meanwhile, in every order.

    :param requests: how often each standby asks.
    """

    def prepare():
        world.begin()

        def standby(number):
            def act(actors):
                for _ in range(requests[number]):
                    world.ask(number)

            return act

        return [standby(0), standby(1), meanwhile]

    def check_all(order):
        world.look()
        assert world.most_at_once <= 1, f"both fire in the order {order}"
        check(order)

    return every_order(prepare, check_all)


def takes_over(world, number):
    """Let the others' lease end; return whether a standby then fires by its next request."""
    world.clock.advance(SECONDS)
    world.ask(number)
    return world.standbys[number].may_fire


@pytest.mark.parametrize(
    ("requests", "pauses", "least"),
    [((2, 2), [1.1], 600), ((2, 1), [0.6, 0.6], 400)],
    ids=["longer than the lease", "half of it, twice"],
)
def test_two_standbys_never_fire_together_while_processes_stand_still(
    world, requests, pauses, least
):
    """Time passes at any moment.

    :param pauses: how long, in leases.
    """

    def pass_time(actors):
        for leases in pauses:
            step()
            world.clock.advance(SECONDS * leases)
            world.look()

    def check(order):
        assert takes_over(world, 1), f"no takeover in the order {order}"
        assert world.most_at_once <= 1, f"both fire in the order {order}"

    assert explore(world, pass_time, check, requests) > least
    assert world.orders_by_firing[1] > least, "in most orders one of them fires"


def test_survivor_of_a_crash_takes_over_when_the_lease_has_ended(world):
    def kill(actors):
        step()
        actors[0].is_killed = True

    def check(order):
        world.standbys[0]._until = float("-inf")  # its process is gone
        assert takes_over(world, 1), f"no takeover in the order {order}"

    assert explore(world, kill, check) > 300


def test_given_back_lease_is_free_at_once_and_never_held_by_two(world):
    def give_back(actors):
        step()
        world.shut_down(0)
        world.look()

    def check(order):
        world.ask(1)
        assert world.most_at_once <= 1, f"both fire in the order {order}"
        may_fire = [each.may_fire for each in world.standbys]
        assert may_fire == [False, True], f"in the order {order}"

    assert explore(world, give_back, check, requests=(1, 1)) > 20


def test_job_that_another_has_fired_is_not_fired_under_a_later_lease(world):
    """The first standby loses its lease in mid-cycle, and its thread perhaps gets a new one."""
    fired_by = Counter()

    def prepare():
        world.begin()
        world.ask(0)
        return [lambda actors: world.cycle(0), first_asks, second_takes_over]

    def first_asks(actors):
        step()
        world.ask(0)

    def second_takes_over(actors):
        step()
        world.clock.advance(SECONDS * 1.1)
        world.ask(1)
        world.cycle(1, step=lambda: None)
        world.shut_down(1)

    def check(order):
        world.clock.advance(SECONDS)
        world.ask(0)
        world.cycle(0)
        assert len(world.fired) == 1, f"fired by {world.fired} in the order {order}"
        fired_by[world.fired[0]] += 1

    assert every_order(prepare, check) > 500
    assert min(fired_by[0], fired_by[1]) > 50, "each fires the job in many orders"


def test_jump_of_the_servers_clock_lets_two_fire_until_the_next_request(world):
    """The limit of the promise: the model would find that two fire."""
    world.begin()
    world.ask(0)
    world.meta.update_one({"_id": "firing"}, [{"$set": {"expires": "$$NOW"}}])
    world.ask(1)
    assert world.most_at_once == 2
    world.ask(0)
    assert [each.may_fire for each in world.standbys] == [False, True]
    until(lambda: world.meta.find_one("firing")["by"] == "scheduler:1:1:x")
