"""Builds the compiled core; pyproject.toml has everything else."""

import sys
from glob import glob

from setuptools import Extension, setup


def compiled_core() -> list[Extension]:
    if sys.implementation.name != "cpython":
        return []  # other implementations use the Python twin
    from Cython.Build import cythonize

    core = Extension("jobstore._index_c", ["ext/_index_c.pyx"], depends=glob("ext/*.h"))
    # Every build generates the C code anew, outside the source tree.
    return cythonize([core], build_dir="build/cython", force=True)  # type: ignore[no-any-return, no-untyped-call]


setup(ext_modules=compiled_core())
