"""Runs a few actors, each in a thread of its own, in every order of their steps.

An actor is a function that calls `step()` before each of its steps. Only one actor goes on at a
time; it does so until it comes to its next step, or to its end. What it would leave to chance it
asks of `choose()`. So with the same choices all happens in the same order, and every order can be
tried, one after the other.
"""

import threading

__all__ = ["Killed", "choose", "every_order", "step"]

local = threading.local()


class Killed(BaseException):
    """Ends an actor where it is; nothing that it calls is meant to catch it."""


class Actor(threading.Thread):
    def __init__(self, act, choices):
        super().__init__(daemon=True)
        self.act = act
        self.choices = choices
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


class Choices:
    """What is chosen in one play: first as in `order`, then the first option each time."""

    def __init__(self, order):
        self.order = order
        self.taken = []

    def among(self, options):
        place = len(self.taken)
        choice = self.order[place] if place < len(self.order) else options[0]
        assert choice in options, f"{choice} of {options}: chance has a part in it"
        self.taken.append((choice, options))
        return choice

    def following(self):
        """The next order, by depth first; None after the last."""
        while self.taken:
            choice, options = self.taken.pop()
            if choice != options[-1]:
                after = options[options.index(choice) + 1]
                return [choice for choice, _ in self.taken] + [after]
        return None


def step():
    """Come to the next step; in a thread of none of the actors it is none."""
    actor = getattr(local, "actor", None)
    if actor is not None:
        actor.wait_for_turn()


def choose(count):
    """Return each whole number from 0 on that is less than this, in different orders."""
    actor = getattr(local, "actor", None)
    return 0 if actor is None else actor.choices.among(range(count))


def every_order(prepare, check):
    """Play all orders; returns how many there were.

    `prepare()` returns the actors' functions, anew for each order; they are called with the list
    of actors, so that one may kill another. `check(order)` is called after each.
    """
    played, order = 0, []
    while order is not None:
        choices = Choices(order)
        play(prepare(), choices)
        check([choice for choice, _ in choices.taken])
        played += 1
        order = choices.following()
    return played


def play(functions, choices):
    actors = []
    actors += [Actor(lambda act=act: act(actors), choices) for act in functions]
    for actor in actors:
        actor.start()
        actor.has_arrived()
    while waiting := [number for number, actor in enumerate(actors) if not actor.is_done]:
        actors[choices.among(waiting)].proceed()
    for actor in actors:
        actor.join()
        if actor.error:
            raise actor.error
