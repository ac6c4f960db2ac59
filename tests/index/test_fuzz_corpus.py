"""What the fuzzer has found worth keeping is done again, on each run of the tests."""

import random
from pathlib import Path

import pytest

from index.fuzz.fuzz_index import run

CORPUS = sorted(Path(__file__).with_name("fuzz").joinpath("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_the_corpus(path):
    run(path.read_bytes())


def test_bytes_at_random():
    draw = random.Random(1)
    for _ in range(200):
        run(draw.randbytes(draw.randrange(400)))
