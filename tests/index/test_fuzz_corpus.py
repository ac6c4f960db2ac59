"""Inputs kept from the fuzzer run again with the tests, as do random inputs."""

import random
from pathlib import Path

import pytest

from index.fuzz.fuzz_index import run

CORPUS = sorted(Path(__file__).with_name("fuzz").joinpath("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_kept_fuzzer_input_passes(path):
    run(path.read_bytes())


def test_random_bytes_pass():
    draw = random.Random(1)
    for _ in range(200):
        run(draw.randbytes(draw.randrange(400)))
