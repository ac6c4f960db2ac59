"""Measure the pages' sentences, and find clauses that are hard to read.

Run: python ci/prose.py FILE...

It fails for a file whose sentences have more than 17 words on average, and for each clause that
stands where a noun belongs. Code, headings, tables and links' addresses don't count.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_MEAN_WORDS = 17
NOT_PROSE = re.compile(
    r"^---\n.*?^---$"  # front matter
    r"|^ *(`{3,}).*?^ *\1"  # code
    r"|<!--.*?-->"
    r"|^#+ .*?$|^ *\|.*?$"  # headings and tables
    r"|^ *(?:!!!|\?\?\?|:::|===).*?$",  # admonitions, directives and tabs
    re.DOTALL | re.MULTILINE,
)
CODE = re.compile(r"(`+).+?\1")
IMAGE_OR_TAG = re.compile(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])|<[^>]+>|\{[^}]*\}")
LINK = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
ITEM = re.compile(r"^ *(?:[-*]|\d+\.|>|:) +", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_]*[A-Z0-9`])")
WORD = re.compile(r"\w[\w'.,/-]*")
HARD = {
    "a clause as a noun": r"\bwhat (?:is|are|was|were|it|others?|they|we|the|a|has|had|comes)\b",
    "a clause as the subject": r"^(?:That (?:a|an|the|it|they|we|this) |Which .* nobody)",
    "an inverted order": r"^(?:Of|To|In|For) [^,]* (?:no|none|nobody) [^,]* (?:is|are|has)\b",
    "a pronoun without its noun": r"\b(?:theirs|ours)\b",
}


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield each paragraph and list item as plain text, with its line's number."""
    text = NOT_PROSE.sub(lambda found: "\n" * found[0].count("\n"), text)
    line = 1
    for block in re.split(r"(\n(?:[ \t]*\n|(?= *(?:[-*]|\d+\.|:) )))", text):
        plain = IMAGE_OR_TAG.sub(" ", CODE.sub("X", block))
        plain = ITEM.sub("", LINK.sub(r"\1", plain).strip())
        if WORD.search(plain):
            yield line + block[: len(block) - len(block.lstrip())].count("\n"), plain
        line += block.count("\n")


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield each sentence of a page, with the number of its paragraph's first line."""
    for line, paragraph in paragraphs(text):
        for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
            if WORD.search(sentence):
                yield line, sentence


def faults(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each clause that is hard to read: its line, the kind, its sentence."""
    for line, sentence in sentences(text):
        for kind, pattern in HARD.items():
            if re.search(pattern, sentence, re.IGNORECASE if kind == "a clause as a noun" else 0):
                yield line, kind, sentence


def mean_words(text: str) -> float:
    """Return the mean number of words in a sentence."""
    counts = [len(WORD.findall(sentence)) for _, sentence in sentences(text)]
    return sum(counts) / len(counts) if counts else 0.0


def main(paths: list[str]) -> int:
    """Report each page; return 1 if one of them is too hard to read."""
    failed = False
    for path in paths:
        text = Path(path).read_text(encoding="utf-8")
        mean = mean_words(text)
        too_long = mean > MAX_MEAN_WORDS
        print(f"{path}: {mean:.1f} words a sentence" + (", more than 17" if too_long else ""))
        found = list(faults(text))
        for line, kind, sentence in found:
            print(f"{path}:{line}: {kind}: {sentence}")
        failed |= too_long or bool(found)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
