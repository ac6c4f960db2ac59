"""Builds the compiled core; pyproject.toml has everything else."""

import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup


def compiled_core() -> list[Extension]:
    if sys.implementation.name != "cpython":
        return []  # other implementations use the Python twins
    from Cython.Build import cythonize

    headers = sorted(glob("ext/*.h"))
    core = [
        Extension(f"jobstore.{Path(source).stem}", [source], depends=headers)
        for source in sorted(glob("ext/*.pyx"))
    ]
    # Every build generates the C code anew, outside the source tree.
    return cythonize(core, build_dir="build/cython", force=True)  # type: ignore[no-any-return, no-untyped-call]


setup(ext_modules=compiled_core())
