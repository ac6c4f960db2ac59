"""Results of benchmarks: reading, keeping and comparing them, and the exit code of a check."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    import results

    monkeypatch.setattr(results, "FOLDER", tmp_path / "bench" / "results")
    (tmp_path / "bench").mkdir()
    return results


def row(results, times, target=None, **more):
    return results.Row(
        "table", "row", {"ours": 2.0, "stock": 2.0 * times}, "stock / ours", target, **more
    )


def test_target_is_missed_below_a_minimum_or_above_a_maximum(results):
    assert not results.missed(row(results, 5))
    assert not results.missed(row(results, 5, target=5))
    assert results.missed(row(results, 4.9, target=5))
    assert results.missed(row(results, 5.1, target=5, at_most=True))
    assert not results.missed(row(results, 4.9, target=5, at_most=True))


def test_ratio_of_a_single_name_is_its_value(results):
    one = results.Row("table", "row", {"ours": 72.0}, "ours", 80, at_most=True, unit="bytes")
    assert one.times == 72
    assert not results.missed(one)


def test_saved_rows_replace_rows_of_the_same_names(results):
    results.save([row(results, 5)])
    other = results.Row("table", "other", {"ours": 1.0}, "ours")
    path = results.save([row(results, 6), other])
    assert [each.times for each in results.load_last()] == [6, 1]
    content = json.loads((results.FOLDER / path.name).read_text("utf-8"))
    assert "CPython" in content["machine"]["python"]


def test_last_result_of_each_row_counts_across_files(results):
    results.FOLDER.mkdir()
    kept = {"machine": {}, "rows": [asdict(row(results, 4))]}
    kept["rows"].append(asdict(results.Row("table", "full", {"ours": 3.0}, "ours")))
    (results.FOLDER / "2026-01-01.json").write_text(json.dumps(kept), "utf-8")
    results.save([row(results, 5)])
    assert [(each.row, each.times) for each in results.load_last()] == [("row", 5), ("full", 3)]


def test_older_result_file_with_the_field_bar_is_read(results):
    results.FOLDER.mkdir()
    written = asdict(row(results, 4))
    written["bar"] = 5
    del written["target"]
    path = results.FOLDER / "2026-01-01.json"
    path.write_text(json.dumps({"machine": {}, "rows": [written]}), "utf-8")
    assert [each.target for each in results.load_last()] == [5]


def test_comparison_names_moved_ratios_and_no_times(results):
    before = [row(results, 10, target=8)]
    slower_machine = results.Row("table", "row", {"ours": 20.0, "stock": 220.0}, "stock / ours", 8)
    lines = list(results.compare([slower_machine], before))
    assert lines == [
        "1 ratios, 1 of them with a target:",
        "  reached: table: row: 11.00 (target 8)",
    ]
    lines = list(results.compare([row(results, 7, target=8)], before))
    assert lines[1:] == [
        "  missed: table: row: 7.00 (target 8)",
        "  moved: table: row: 10.00 -> 7.00",
    ]
    assert list(results.compare([row(results, 7)], []))[1:] == ["  new: table: row: 7.00"]


def test_ratio_that_stays_zero_has_not_moved(results):
    none = row(results, 0)
    assert list(results.compare([none], [none]))[1:] == []
    moved = list(results.compare([row(results, 1)], [none]))[1:]
    assert moved == ["  moved: table: row: 0.00 -> 1.00"]


@pytest.mark.parametrize(("target", "code"), [(0.001, 0), (1e9, 1)])
def test_check_fails_at_a_missed_target(tmp_path, target, code):
    for name in ("conftest.py", "measure.py", "results.py"):
        (tmp_path / name).write_text((BENCH / name).read_text("utf-8"), "utf-8")
    (tmp_path / "test_it.py").write_text(
        "from measure import Variant\n"
        "def test_it(measure, report):\n"
        "    one, other = measure(Variant(lambda: sum(range(99)), 1), Variant(int, 1), rounds=3)\n"
        f"    report('t', 'r', {{'a': one, 'b': other}}, 'a / b', target={target})\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "--check", "--benchmark-quiet", "test_it.py"]
    # A PYTEST_ variable from pytest-xdist would switch pytest-benchmark off.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert done.returncode == code, done.stdout
    assert ("missed: t: r" if code else "reached: t: r") in done.stdout
