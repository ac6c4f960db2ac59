"""The search through orders of steps misses no result, though it leaves equal orders out."""

from random import Random

import pytest

from support.interleavings import choose, every_order, step


class Programs:
    """Random programs of a few steps each, which read and write two shared values."""

    def __init__(self, seed):
        random = Random(seed)
        kinds = ["read", "read", "write", "choose"]
        self.programs = [
            random.choices(kinds, k=length) for length in random.choice([(3, 3), (1, 4), (2, 2, 1)])
        ]
        self.places = [[random.randrange(2) for _ in each] for each in self.programs]

    def results(self, knows_reads):
        """Play all orders; return all results, and the number of orders."""
        results = []

        def prepare():
            self.values, self.seen = [0, 0], [[] for _ in self.programs]
            return [lambda _, number=number: self.run(number) for number in range(len(self.seen))]

        def run(number):
            for name, place in zip(self.programs[number], self.places[number], strict=True):
                step(only_reads=knows_reads and name != "write")
                if name == "write":
                    self.values[place] = self.values[place] * 10 + number + 1
                else:
                    self.seen[number].append(self.values[choose(2) if name == "choose" else place])

        self.run = run
        count = every_order(prepare, lambda _: results.append(str((self.values, self.seen))))
        assert count == len(results)
        return {*results}, count


@pytest.mark.parametrize("seed", range(40))
def test_orders_that_are_left_out_have_the_results_of_others(seed):
    programs = Programs(seed)
    (all_results, all_orders), (results, orders) = map(programs.results, [False, True])
    assert results == all_results
    assert orders <= all_orders


def test_two_readers_have_one_order():
    def read(_):
        step(only_reads=True)
        step(only_reads=True)

    assert every_order(lambda: [read, read], lambda _: None) == 1


def test_every_order_of_writers_is_played():
    def write(_):
        step()
        step()

    assert every_order(lambda: [write, write], lambda _: None) == 6
