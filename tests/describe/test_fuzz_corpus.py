"""Inputs kept from the fuzzer run again with the tests, as do random inputs."""

import random
from pathlib import Path

import pytest

from describe.fuzz.fuzz_describe import run
from support.broken_pickles import BOMBS, LENGTHS, STACK, TEXTS
from support.hostile_pickles import CALLS, DATA, NAMES
from support.hostile_places import PLACES
from support.opcodes import plain

CORPUS = sorted(Path(__file__).with_name("fuzz").joinpath("corpus").iterdir())
VALUES = [(), (1, "a", None), (b"x", [2.5, {"a": (True,)}]), ({1, 2}, "\n'\"")]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_kept_fuzzer_input_passes(path):
    run(path.read_bytes())


def test_plain_values_are_compared():
    place = list(PLACES).index("the args")
    assert all(run(bytes([place]) + plain(value)) for value in VALUES)


def test_random_damage_passes():
    draw = random.Random(1)
    for _ in range(1000):
        run(bytes([draw.randrange(len(PLACES), 256)]) + draw.randbytes(draw.randrange(2, 14)))


def test_random_mixtures_of_hostile_values_pass():
    draw = random.Random(2)
    parts = [*CALLS.values(), *DATA.values(), *NAMES.values(), *STACK.values(), *LENGTHS.values()]
    parts += [*TEXTS.values(), *BOMBS.values(), *map(plain, VALUES)]
    for _ in range(2000):
        mixture = b"".join(draw.choices(parts, k=3))
        start = draw.randrange(len(mixture))
        mixture = mixture[start : start + draw.randrange(200)]
        run(bytes([draw.randrange(len(PLACES))]) + mixture + draw.choice(parts))
