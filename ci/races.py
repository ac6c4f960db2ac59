"""Prints the races that ThreadSanitizer reported in jobstore's compiled parts; fails if any.

    python ci/races.py REPORT...

A race counts if a compiled part made one of its two accesses, itself or through C code that it
called. It does not count if the part called Python code, which made the access.
"""

import re
import sys
from collections import Counter
from pathlib import Path

PARTS = "|".join(path.stem for path in Path(__file__).parent.parent.glob("ext/*.pyx"))
COMPILED_PART = re.compile(rf"\((?:{PARTS})[.\w-]*\.so\+")
PYTHON_CODE = re.compile(r"#\d+ _PyEval_EvalFrameDefault ")
ACCESS = re.compile(r"  (?:Previous )?(?:atomic )?(?:read|write) of size \d+", re.IGNORECASE)


def accesses(report):
    """Split a report into the stacks of its accesses: lists of frames, the innermost first."""
    stacks = []
    for section in report.split("\n\n"):
        lines = section.splitlines()
        starts = [i for i, line in enumerate(lines) if ACCESS.match(line)]
        if starts:
            stacks.append([line.strip() for line in lines[starts[0] + 1 :]])
    return stacks


def our_frame(stack):
    """Return the innermost frame of a compiled part that made the access, or None."""
    for frame in stack:
        if PYTHON_CODE.match(frame):
            return None
        if COMPILED_PART.search(frame):
            return re.sub(r"#\d+ (\S+) (?:.*/)?(\S+?)(?::\d+)? \(.*", r"\1 (\2)", frame)
    return None


def main():
    """Read the reports, print each race of the compiled parts once, the first five in full."""
    races, others = {}, Counter()
    for report in "".join(Path(name).read_text() for name in sys.argv[1:]).split("=" * 18):
        if "WARNING: ThreadSanitizer" not in report:
            continue
        frames = [our_frame(stack) for stack in accesses(report)]
        if any(frames):
            races.setdefault(tuple(sorted(map(str, frames))), report.strip())
        else:
            summary = re.search(r"SUMMARY: ThreadSanitizer: (.*)", report)
            others[summary[1] if summary else "?"] += 1
    for report in list(races.values())[:5]:
        print(report, end="\n\n")
    for frames in races:
        print("race:", " and ".join(frames))
    print(f"{len(races)} races in the compiled parts; {others.total()} elsewhere")
    print(*others, sep="\n")
    sys.exit(bool(races))


if __name__ == "__main__":
    main()
