"""Builds the compiled core; pyproject.toml has everything else."""

import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup

core = [
    Extension(f"jobstore.{Path(source).stem}", [source], depends=sorted(glob("ext/*.h")))
    for source in sorted(glob("ext/*.pyx"))
]
setup(
    # Other implementations than CPython use the Python twins.
    ext_modules=core if sys.implementation.name == "cpython" else [],
    # setuptools lets Cython generate the C code, at each build anew, and outside the source tree.
    options={"build_ext": {"force": "yes", "cython_c_in_temp": "yes"}},
)
