"""Runs a few actors, each in a thread of its own, in every order of their steps.

An actor is a function that calls `step()` before each of its steps. Only one actor goes on at a
time; it does so until it comes to its next step, or to its end. So with the same choices all
happens in the same order, and every order can be tried, one after the other.
"""

import threading

__all__ = ["Killed", "every_order", "step"]

local = threading.local()


class Killed(BaseException):
    """Ends an actor where it is; nothing that it calls is meant to catch it."""


class Actor(threading.Thread):
    def __init__(self, act):
        super().__init__(daemon=True)
        self.act = act
        self.error = None
        self.is_done = False
        self.is_killed = False
        self._arrived = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def run(self):
        local.actor = self
        try:
            self.act()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.is_done = True
            self._arrived.release()

    def wait_for_turn(self):
        self._arrived.release()
        self._go.acquire()
        if self.is_killed:
            raise Killed

    def proceed(self):
        self._go.release()
        self.has_arrived()

    def has_arrived(self):
        assert self._arrived.acquire(timeout=60), "an actor is stuck"


def step():
    """Come to the next step; in a thread of none of the actors it is none."""
    actor = getattr(local, "actor", None)
    if actor is not None:
        actor.wait_for_turn()


def every_order(prepare, check):
    """Play all orders; returns how many there were.

    `prepare()` returns the actors' functions, anew for each order; they are called with the list
    of actors, so that one may kill another. `check(order)` is called after each.
    """
    played, order = 0, []
    while order is not None:
        taken = play(prepare(), order)
        check([choice for choice, _ in taken])
        played += 1
        order = following(taken)
    return played


def play(functions, order):
    actors = []
    actors += [Actor(lambda act=act: act(actors)) for act in functions]
    for actor in actors:
        actor.start()
        actor.has_arrived()
    taken = []
    while waiting := [number for number, actor in enumerate(actors) if not actor.is_done]:
        choice = order[len(taken)] if len(taken) < len(order) else waiting[0]
        taken.append((choice, waiting))
        actors[choice].proceed()
    for actor in actors:
        actor.join()
        if actor.error:
            raise actor.error
    return taken


def following(taken):
    """The next order, by depth first; None after the last."""
    while taken:
        choice, waiting = taken.pop()
        later = [number for number in waiting if number > choice]
        if later:
            return [number for number, _ in taken] + later[:1]
    return None
