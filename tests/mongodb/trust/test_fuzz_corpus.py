"""Inputs kept from the fuzzer run again with the tests, as do random inputs."""

import random
from pathlib import Path

import pytest

from mongodb.trust.fuzz.fuzz_trust import run

CORPUS = sorted(Path(__file__).with_name("fuzz").joinpath("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_kept_fuzzer_input_passes(path):
    run(path.read_bytes())


def test_random_mixtures_and_damages_of_signed_documents_pass():
    draw = random.Random(1)
    accepted = [run(draw.randbytes(draw.randrange(14))) for _ in range(20_000)]
    assert 100 < accepted.count(True) < 10_000
