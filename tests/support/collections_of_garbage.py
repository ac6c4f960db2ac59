"""Quick collections of garbage, for modules of tests that collect again and again."""

import gc

import pytest

__all__ = ["quick_collections"]


@pytest.fixture(scope="module")
def quick_collections():
    """Spare collections the objects that are there already: the tests alone are a million."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
