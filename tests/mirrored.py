"""What the tests of the mirrored store share."""

import threading

from mongo import until


def documents(store):
    return {each["_id"]: each for each in store.collection.find()}


def mirrored(store):
    return {each["_id"]: each for each in store._mirror.all()}


def own_threads():
    return [each for each in threading.enumerate() if each.name.startswith("jobstore-")]


def is_quiet(store):
    """Whether all is written, and the stream has told it."""
    return not store._deferred.waits and not store._mirror._ahead


def agree(store):
    """Wait until mirror and collection are equal."""
    until(lambda: is_quiet(store) and mirrored(store) == documents(store))
