"""Checks which files an sdist and a wheel contain: python check_contents.py FILE..."""

import re
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NEEDED = ["setup.py", "pyproject.toml", "ext/_index_c.pyx", "ext/index.h", "tests/conftest.py"]
NEEDED += [
    "bench/conftest.py",
    "docs/index.md",
    "mkdocs.yml",
    "README.md",
    "LICENSE",
    "Makefile",
    "ci/README.md",
]
WHEEL = re.compile(r"jobstore/(\w+/){0,2}(\w+\.py|py\.typed|_index_c\.[\w-]+\.(so|pyd))$")
METADATA = re.compile(r"jobstore-[\w.]+\.dist-info/")
# No core may name these folders, as search paths, assertions and debug information do.
PLACES = [str(place) for place in (Path.home(), Path.cwd(), tempfile.gettempdir())]


def main() -> None:
    """Check each file, and exit with 1 at the first bad one."""
    for name in sys.argv[1:]:
        if name.endswith(".whl"):
            with zipfile.ZipFile(name) as wheel:
                files = [file for file in wheel.namelist() if not file.endswith("/")]
                cores = {file: wheel.read(file) for file in files if "/_index_c." in file}
            wrong = [file for file in files if not (WHEEL.match(file) or METADATA.match(file))]
            wrong += [
                f"{file} names this machine's {place}"
                for file, core in cores.items()
                for place in PLACES
                if f"{place}/".encode() in core
            ]
            if not cores:
                wrong.append("no compiled core")
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
