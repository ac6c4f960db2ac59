"""Random nested values are described by their `repr`, as far as it is not cut."""

import pickle
from datetime import timezone

from hypothesis import given
from hypothesis import strategies as st

from jobstore.describe import describe_job
from jobstore.inert.texts import CUT, MAX_DEPTH, MAX_TEXT
from support.described import ONE_HOUR, PROTOCOLS, RUN_TIME, described_arguments
from support.states import make_job

KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.binary(max_size=9),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.just(timezone.utc) | st.none()),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
KEYS |= st.tuples(KEYS, KEYS) | st.frozensets(KEYS, max_size=1)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(KEYS, max_size=1),
    ),
    max_leaves=12,
)


def depth_of(value):
    """Count the containers in each other."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, [*value, *value.values()]), default=0)
    if isinstance(value, (list, tuple, set, frozenset)):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def assert_described(text, value):
    """The text is the `repr`, or is cut where it is long or deep."""
    full = repr(value)
    if len(full) > MAX_TEXT or depth_of(value) > MAX_DEPTH:
        assert len(text) <= MAX_TEXT + len(CUT)
        assert full.startswith(text.partition(CUT)[0])
    else:
        assert text == full


@given(args=st.lists(VALUES, max_size=4).map(tuple), protocol=st.sampled_from(PROTOCOLS))
def test_random_arguments_are_described_by_their_repr(args, protocol):
    text, _ = described_arguments(*args, protocol=protocol)
    assert_described(text, pickle.loads(pickle.dumps(args, protocol)))


@given(value=VALUES)
def test_random_live_arguments_are_described_as_in_their_document(value):
    text = describe_job(make_job(ONE_HOUR, RUN_TIME, args=(value,))).args
    assert_described(text, (value,))
    assert described_arguments(value)[0] == text
