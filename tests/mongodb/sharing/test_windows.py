"""Windows: in which part of the due jobs each of many schedulers looks for free ones."""

from types import SimpleNamespace

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument

from jobstore.mongodb import updates
from jobstore.mongodb.sharing import candidates, claims
from jobstore.mongodb.sharing.lease import lease_end
from support.jobs import at, job
from support.shared_stores import ids, leased, run


def draw(monkeypatch, window):
    """Fix the window that is picked; return the list of window counts that it is picked from."""
    asked = []
    drawn = SimpleNamespace(randrange=lambda n: asked.append(n) or range(n)[window])
    monkeypatch.setattr(candidates, "rng", drawn)
    return asked


def lease_to_others(store, job_ids):
    """Lease jobs to a scheduler that is not in the test."""
    lease = [{"$set": {"acquired_until": lease_end(100)}}]
    store.collection.update_many({"_id": {"$in": list(job_ids)}}, lease)


def test_each_window_can_be_claimed_under_contention(make, monkeypatch):
    """So no due job is passed by for ever."""
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcde")])
    windows = []
    for window in range(3):
        store._reader._candidates._windows = 3.0
        draw(monkeypatch, window)
        windows.append(ids(store.get_due_jobs(at(10))))
        store.get_next_run_time()  # releases them
    assert windows == [["a", "b"], ["c", "d"], ["e"]]


def test_contended_scheduler_looks_elsewhere_and_later_at_the_first_window(make, monkeypatch):
    first, second = make(batch_size=2), make(batch_size=2)
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abcdefg")])
    draw(monkeypatch, -1)
    assert ids(first.get_due_jobs(at(10))) == ["a", "b"], "the first window"
    second.commands.names.clear()
    assert ids(second.get_due_jobs(at(10))) == ["c", "d"]
    assert second.commands.names == ["find", "find", "update", "find"], "the first two are leased"
    second.get_next_run_time()
    draw(monkeypatch, 0)
    first.get_next_run_time()
    for _ in range(9):
        assert ids(second.get_due_jobs(at(10))) == ["a", "b"]
        second.get_next_run_time()
    draw(monkeypatch, -1)
    assert ids(second.get_due_jobs(at(10))) == ["a", "b"], "the first window again"


def test_look_past_the_due_jobs_is_followed_by_one_at_the_first_window(make, monkeypatch):
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abc")])
    store._reader._candidates._windows = 16.0
    draw(monkeypatch, -1)
    store.commands.names.clear()
    assert ids(store.get_due_jobs(at(10))) == ["a", "b"]
    assert store.commands.names == ["find", "find", "update", "find"]
    store.remove_all_jobs()
    assert store.get_due_jobs(at(10)) == []
    store.commands.names.clear()
    assert store.get_due_jobs(at(10)) == []
    assert store.commands.names == ["find"], "it has seen that no job is due"


def test_last_window_is_claimed_even_if_not_full(make, monkeypatch):
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abc")])
    store._reader._candidates._windows = 4.0
    asked = draw(monkeypatch, 1)
    for _ in range(2):
        assert ids(store.get_due_jobs(at(10))) == ["c"]
        store.get_next_run_time()
    assert asked == [4, 2]


def test_leased_last_window_is_followed_by_another_look(make, monkeypatch):
    store = make(batch_size=2)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abc")])
    lease_to_others(store, "c")
    store._reader._candidates._windows = 2.0
    windows = iter([1, 0])
    drawn = SimpleNamespace(randrange=lambda n: next(windows))
    monkeypatch.setattr(candidates, "rng", drawn)
    assert ids(store.get_due_jobs(at(10))) == ["a", "b"]


def test_free_job_behind_many_leased_ones_is_found(make, monkeypatch):
    """This holds even if each random window is leased as a whole."""
    first, second = make(batch_size=3), make(batch_size=1)
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    assert ids(first.get_due_jobs(at(10))) == ["a", "b", "c"]
    draw(monkeypatch, 0)
    second.commands.names.clear()
    assert ids(second.get_due_jobs(at(10))) == ["d"]
    looks = ["find"] * (candidates.MAX_LOOKS + 1)
    assert second.commands.names == [*looks, "update", "find"]


@pytest.mark.parametrize("behind", [False, True])
def test_claim_is_at_most_one_batch(make, monkeypatch, behind):
    """A window is larger than a batch if jobs are left to other schedulers."""
    store, other = make(batch_size=2), make(batch_size=9)
    store.add_job(job("left", 9, executor="special"))
    run(store)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcdefgh"[behind:])])
    if behind:  # they fill a window
        other.add_jobs([job(f"0{n}", -1) for n in range(3)])
        lease_to_others(other, ["00", "01", "02"])
    draw(monkeypatch, 0)
    assert len(ids(store.get_due_jobs(at(10)))) == 2
    assert len([each for each in leased(store) if each > "9"]) == 2


def test_unrunnable_job_takes_no_place_in_a_window(make, monkeypatch):
    store = make(batch_size=2)
    store.add_job(job("left", -1, executor="special"))
    run(store)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcde")])
    store._reader._candidates._windows = 2.0
    draw(monkeypatch, -1)
    assert ids(store.get_due_jobs(at(10))) == ["c", "d"], "they are the second window"
    store.get_next_run_time()
    lease_to_others(store, "abcd")
    store._hand_out._batch_size = 1
    draw(monkeypatch, 0)
    assert ids(store.get_due_jobs(at(10))) == ["e"], "the job behind all leased ones"


def test_invalid_utf8_ids_take_no_place_in_a_window(make):
    store = make(batch_size=2)
    for number in range(3):
        document = encode({"_id": "XX", "next_run_time": at(number).timestamp()})
        raw = document.replace(b"XX", b"\xff%d" % number)
        store.collection.insert_one(RawBSONDocument(raw))
    store.add_job(job("a", 3))
    assert ids(store.get_due_jobs(at(10))) == ["a"]


def test_claim_names_at_most_max_ids(make, monkeypatch):
    monkeypatch.setattr(claims, "MAX_IDS", 3)
    store = make(batch_size=5)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcde")])
    assert ids(store.get_due_jobs(at(10))) == ["a", "b", "c"]


def test_the_number_of_windows_is_bounded(make, monkeypatch):
    """Otherwise the first jobs would never be looked at."""
    first, second = make(), make(batch_size=1)
    first.add_jobs([job(f"{n:02}", n) for n in range(40)])
    first.get_due_jobs(at(100))
    asked = draw(monkeypatch, 0)
    for _ in range(9):
        second.get_due_jobs(at(100))
    assert asked[:4] == [1, 2, 4, 8]
    assert max(asked) == candidates.MAX_WINDOWS


@pytest.mark.parametrize(("others", "got"), [("ab", "cd"), ("abc", "efgh")])
def test_window_is_passed_by_if_more_than_half_of_it_is_leased(make, monkeypatch, others, got):
    """A whole cycle for few jobs costs more than another look."""
    store = make(batch_size=4)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcdefgh")])
    lease_to_others(store, others)
    draw(monkeypatch, -1)
    assert ids(store.get_due_jobs(at(10))) == list(got)


@pytest.mark.parametrize("others", ["abc", "ac"])
def test_last_window_is_claimed_however_few_jobs_are_free(make, others):
    store = make(batch_size=5)
    store.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    lease_to_others(store, others)
    store.commands.names.clear()
    assert ids(store.get_due_jobs(at(10))) == sorted(set("abcd") - set(others))
    assert store.commands.names == ["find", "update", "find"]


def test_one_look_suffices_when_all_due_jobs_fit_in_one_window(make):
    """There is no other window."""
    first, second = make(), make()
    first.add_job(job("a"))
    first.get_due_jobs(at(10))
    second.commands.names.clear()
    for _ in range(20):
        assert second.get_due_jobs(at(10)) == []
    assert second.commands.names == ["find"] * 20


def test_lost_claim_is_followed_by_one_on_the_next_jobs(make, monkeypatch):
    """Another scheduler wins all candidates between the look and the claim."""
    draw(monkeypatch, -1)
    first, second = make(batch_size=2), make()
    first.add_jobs([job(name, seconds) for seconds, name in enumerate("abcd")])
    update_with_retry = updates.update_with_retry

    def after_another(connection, query, fields):
        monkeypatch.setattr(updates, "update_with_retry", update_with_retry)
        assert ids(second_batch(second)) == ["a", "b"]
        return update_with_retry(connection, query, fields)

    def second_batch(store):
        store._hand_out._batch_size = 2
        return store.get_due_jobs(at(10))

    monkeypatch.setattr(updates, "update_with_retry", after_another)
    first.commands.names.clear()
    assert ids(first.get_due_jobs(at(10))) == ["c", "d"]
    assert first.commands.names == ["find", "update", "find", "update", "find"]


def test_search_ends_after_the_last_look_when_every_claim_is_lost(make, monkeypatch):
    store = make()
    store.add_job(job("a"))
    draw(monkeypatch, 0)
    monkeypatch.setattr(updates, "update_with_retry", lambda *_: 0)
    store.commands.names.clear()
    assert store.get_due_jobs(at(10)) == []
    assert store.commands.names == ["find"] * (candidates.MAX_LOOKS + 1)
