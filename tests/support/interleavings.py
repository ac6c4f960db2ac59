"""Runs a few actors, each in its own thread, in every possible order of their steps.

An actor is a function that calls `step()` before each of its steps. Only one actor runs at a time,
until its next step or its end. Instead of a random number an actor uses `choose()`. So the same
choices always give the same order of events, and a test can try every order one after another.

Two steps that only read give the same results in either order, so only one of these is tried. This
is a search with sleep sets, from Godefroid, "Partial-Order Methods for the Verification of
Concurrent Systems", 1996.
"""

import threading

__all__ = ["Killed", "choose", "every_order", "step"]

local = threading.local()


class Killed(BaseException):
    """Ends an actor at its current step. No code that the actor calls should catch it."""


class Actor(threading.Thread):
    def __init__(self, act, choices):
        super().__init__(daemon=True)
        self.act = act
        self.choices = choices
        self.error = None
        self.is_done = False
        self.is_killed = False
        self.only_reads = False  # whether its next step changes nothing that other actors see
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

    def wait_for_turn(self, only_reads):
        self.only_reads = only_reads
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
    """The choices of one play: first those in `order`, then always the first option."""

    def __init__(self, order):
        self.order = order
        self.taken = []

    def among(self, options):
        place = len(self.taken)
        choice = self.order[place] if place < len(self.order) else options[0]
        assert choice in options, f"{choice} is not in {options}: the actors are not deterministic"
        self.taken.append((choice, options))
        return choice

    def next_order(self):
        """Return the next order of a depth-first search, or None after the last."""
        while self.taken:
            choice, options = self.taken.pop()
            if choice != options[-1]:
                after = options[options.index(choice) + 1]
                return [choice for choice, _ in self.taken] + [after]
        return None


def step(*, only_reads=False):
    """Wait for the actor's next turn. In a thread that is no actor, return at once.

    :param only_reads: whether all until the next step changes nothing that other actors see.
    """
    actor = getattr(local, "actor", None)
    if actor is not None:
        actor.wait_for_turn(only_reads)


def choose(count):
    """Choose a number from 0 to `count` - 1. The orders together try every number."""
    actor = getattr(local, "actor", None)
    return 0 if actor is None else actor.choices.among(range(count))


def every_order(prepare, check):
    """Play all orders that can differ in their results, and return their number.

    For each order, `prepare()` returns the actors' functions. Each function gets the list of
    actors, so that one actor can kill another. `check(order)` is called after each order.
    """
    played, order = 0, []
    while order is not None:
        choices = Choices(order)
        if play(prepare(), choices):
            check([choice for choice, _ in choices.taken])
            played += 1
        order = choices.next_order()
    return played


def play(functions, choices):
    """Play one order; return False, and kill the actors, if an earlier order was equal to it."""
    actors = []
    actors += [Actor(lambda act=act: act(actors), choices) for act in functions]
    for actor in actors:
        actor.start()
        actor.has_arrived()
    asleep = set()  # the actors whose next step would begin an order equal to an earlier one
    while waiting := [number for number, actor in enumerate(actors) if not actor.is_done]:
        awake = [number for number in waiting if number not in asleep]
        if not awake:
            kill(actors)
            break
        chosen = choices.among(awake)
        asleep.update(number for number in awake if number < chosen)  # they were chosen earlier
        if actors[chosen].only_reads:
            asleep = {number for number in asleep if actors[number].only_reads}
        else:
            asleep.clear()
        actors[chosen].proceed()
    for actor in actors:
        actor.join()
        if actor.error:
            raise actor.error
    return not waiting


def kill(actors):
    for actor in actors:
        actor.is_killed = True
        while not actor.is_done:
            actor.proceed()
