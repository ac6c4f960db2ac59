"""Damaged states never crash the search; where they still have the run time, it is replaced."""

import random
from pathlib import Path

import pytest

from states.fuzz.fuzz_states import bases, run

CORPUS = sorted(Path(__file__).with_name("fuzz").joinpath("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_kept_fuzzer_input_passes(path):
    run(path.read_bytes())


def test_random_damage_passes():
    draw = random.Random(1)
    advanced = 0
    for _ in range(5000):
        advanced += run(bytes([draw.randrange(256)]) + draw.randbytes(draw.randrange(2, 14)))
    assert advanced > 50  # the damage was elsewhere, so the test has tested something


def test_each_bit_of_each_end_may_flip():
    for base in range(len(bases())):
        for place in range(80):
            for bit in range(8):
                run(bytes([base, 1, 1, 3, place, bit]))
