"""Random nested values are described by their `repr`, as far as it is not cut."""

from datetime import timezone

from hypothesis import given
from hypothesis import strategies as st

from jobstore.describe import describe_job
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
    st.decimals(),
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


def is_text_of(text, full):
    """Whether a text is the `repr`, or begins and ends as it does."""
    return text == full or (len(full) > 200 and len(text) <= 500 and text[:9] == full[:9])


@given(args=st.lists(VALUES, max_size=4), protocol=st.sampled_from(PROTOCOLS))
def test_random_arguments_are_described_by_their_repr(args, protocol):
    assert is_text_of(described_arguments(*args, protocol=protocol)[0], repr(tuple(args)))


@given(kwargs=st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_random_keywords_are_described_by_their_repr(kwargs):
    job = make_job(ONE_HOUR, RUN_TIME, args=(kwargs,))
    args, _ = described_arguments(kwargs)
    assert is_text_of(args, repr((kwargs,)))
    assert describe_job(job).args == args
