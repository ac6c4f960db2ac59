"""Programs that tests run in separate processes."""

import os
import subprocess
import sys
from pathlib import Path


def command(name, *args):
    """Return the command line that runs the program of this name."""
    return [sys.executable, "-X", "faulthandler", Path(__file__).with_name(f"{name}.py"), *args]


def environment():
    """Return an environment in which a program imports the same modules as the tests."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def output(name, *args):
    """Run a program to its end, and return its output."""
    done = subprocess.run(command(name, *args), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout
