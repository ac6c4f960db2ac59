"""Checks which files an sdist and a wheel contain: python check_contents.py FILE...

A wheel for Linux also needs a tag of auditwheel (manylinux or musllinux), and a stripped core.
"""

import io
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile

NEEDED = [
    "setup.py",
    "pyproject.toml",
    "ext/_index_c.pyx",
    "ext/index.h",
    "ext/_cron_c.pyx",
    "ext/_changes_c.pyx",
    "ext/_inert_c.pyx",
    "tests/conftest.py",
]
NEEDED += [
    "SECURITY.md",
    "bench/conftest.py",
    "docs/index.md",
    "examples/memory.py",
    "mkdocs.yml",
    "README.md",
    "LICENSE",
    "Makefile",
    "ci/README.md",
]
WHEEL = re.compile(
    r"jobstore/(\w+/){0,2}(\w+\.py|py\.typed|_(changes|cron|index|inert|states)_c\.[\w-]+\.(so|pyd))$"
)
METADATA = re.compile(r"jobstore-[\w.]+\.dist-info/")
# No core may name these folders, as search paths, assertions and debug information do.
PLACES = [str(place) for place in (Path.home(), Path.cwd(), tempfile.gettempdir())]


def linux_faults(wheel: str, core: bytes) -> Iterator[str]:
    """Yield each reason why a wheel for Linux is not fit to be published."""
    for tag in wheel.removesuffix(".whl").rpartition("-")[2].split("."):
        if not tag.startswith(("manylinux", "musllinux")):
            yield f"the tag {tag} is not one of auditwheel's"
    for section in ELFFile(io.BytesIO(core)).iter_sections():
        if section.name == ".symtab" or section.name.startswith(".debug"):
            yield f"the core has a section {section.name}, so it is not stripped"


def main() -> None:
    """Check each file, and exit with 1 at the first bad one."""
    for name in sys.argv[1:]:
        if name.endswith(".whl"):
            with zipfile.ZipFile(name) as wheel:
                files = [file for file in wheel.namelist() if not file.endswith("/")]
                cores = {file: wheel.read(file) for file in files if "_c." in file}
            wrong = [file for file in files if not (WHEEL.match(file) or METADATA.match(file))]
            wrong += [
                f"{file} names this machine's {place}"
                for file, core in cores.items()
                for place in PLACES
                if f"{place}/".encode() in core
            ]
            if len(cores) < 3:
                wrong.append("not all compiled parts")
            if "linux" in name.rpartition("-")[2]:
                wrong += [fault for core in cores.values() for fault in linux_faults(name, core)]
        else:
            with tarfile.open(name) as sdist:
                files = [member.partition("/")[2] for member in sdist.getnames()]
            wrong = [f"{file} is missing" for file in NEEDED if file not in files]
            wrong += [file for file in files if re.search(r"\.(c|so|pyc|pyd)$", file)]
        if wrong:
            sys.exit(f"{name}: {', '.join(wrong)}")
        print(f"{name}: contents are right")


if __name__ == "__main__":
    main()
