"""`ci/prose.py` finds pages that are hard to read, and counts only their prose."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "ci/prose.py"
FUNCTIONS = runpy.run_path(str(SCRIPT))
mean_words, faults = FUNCTIONS["mean_words"], FUNCTIONS["faults"]
SHORT = "The store writes the job.\n"
LONG = "The store " + "really " * 20 + "writes.\n"


def run(*paths):
    return subprocess.run([sys.executable, SCRIPT, *paths], capture_output=True, text=True)


def kinds(text):
    return [kind for _, kind, _ in faults(text)]


def test_page_of_short_sentences_passes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{SHORT * 3}")
    ran = run(page)
    assert (ran.returncode, ran.stdout) == (0, f"{page}: 5.0 words a sentence\n")


def test_page_of_long_sentences_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(LONG + SHORT)
    assert run(page).returncode == 0  # 14 words on average
    page.write_text(LONG * 3 + SHORT)
    ran = run(page)
    assert (ran.returncode, ran.stdout) == (1, f"{page}: 18.5 words a sentence, more than 17\n")


def test_one_bad_page_fails_all_and_each_page_is_reported(tmp_path):
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text(SHORT)
    bad.write_text(f"{SHORT}\nRead what is due.\n")
    ran = run(bad, good)
    assert ran.returncode == 1
    assert f"{bad}:3: a clause as a noun: Read what is due.\n" in ran.stdout
    assert f"{good}: 5.0 words a sentence\n" in ran.stdout


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("a clause as a noun", "A scheduler leases what is in front."),
        ("a clause as a noun", "What others have claimed stays."),
        ("a clause as the subject", "That the stream shows the write proves nothing."),
        ("a clause as the subject", "Which thread is the scheduler's nobody says."),
        ("an inverted order", "Of two machines' times no difference is taken."),
        ("a pronoun without its noun", "The stock store deletes the job, ours keeps it."),
    ],
)
def test_each_kind_of_hard_clause_is_found_in_text_and_items(kind, sentence):
    assert kinds(sentence) == [kind]
    assert kinds(f"{SHORT}\n1. **Jobs.** {sentence}\n") == [kind]
    assert kinds(f"> {SHORT}> {sentence}\n") == [kind]


def test_sentence_over_two_lines_is_one_sentence():
    assert mean_words("The store writes\nthe job. It waits.\n") == 3.5
    assert [line for line, _, _ in faults("One.\n\nRead what\nis due.\n")] == [3]


@pytest.mark.parametrize(
    "other",
    [
        f"```python\n{LONG}# what is due\n```\n",
        f"- An item.\n\n    ```text\n    {LONG}    ```\n",
        f"| what is due | {LONG.strip()} |\n|---|---|\n",
        f"## What is due: {LONG}",
        f"<!-- what is due: {LONG} -->\n",
        f'!!! note "What is due: {LONG.strip()}"\n',
        f"---\ntitle: what is due {LONG}---\n",
    ],
    ids=["code", "code in an item", "table", "heading", "comment", "admonition", "front matter"],
)
def test_all_but_prose_is_left_out(other):
    text = f"{other}\nThe store writes the job.\n"
    assert mean_words(text) in (5, 3.5)  # 3.5: with the two words of an item
    assert kinds(text) == []


def test_code_and_addresses_within_a_sentence_are_left_out():
    text = "The store writes [the job](https://example.com/what-is-due) by `what is = due`.\n"
    assert mean_words(text) == 7
    assert kinds(text) == []
