"""Builds the compiled core; everything else is in pyproject.toml."""

import sys
from glob import glob

from setuptools import Extension, setup


def compiled_core() -> list[Extension]:
    if sys.implementation.name != "cpython":
        return []  # the Python twin serves there
    from Cython.Build import cythonize

    core = Extension("jobstore._index_c", ["ext/_index_c.pyx"], depends=glob("ext/*.h"))
    # The generated C is an intermediate file: made anew for every build, and never in the tree.
    return cythonize([core], build_dir="build/cython", force=True)  # type: ignore[no-any-return, no-untyped-call]


setup(ext_modules=compiled_core())
