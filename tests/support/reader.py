"""A reader who follows a page block by block."""

import re
import shlex
import signal
import subprocess
import sys
import threading
from importlib import metadata

from apscheduler.events import EVENT_JOB_REMOVED

from support.pages import blocks

PATIENCE = 60  # seconds to wait before a test fails
# On a slow machine a command may run out of time. The store logs that, and repeats the command.
OUT_OF_TIME = " timed out (configured timeouts: timeoutMS: "
ANY_FENCE = re.compile(r"^ *(?:`{3,}|~{3,})", re.MULTILINE)
EXAMPLE = ", for example"  # at the end of a title: the reader's own lines will differ in numbers
# The test's own environment stands for the one that these commands make.
ENVIRONMENT = {"python3 -m venv .venv", ". .venv/bin/activate"}
MAKE_TARGET = re.compile(r"^([\w-]+):", re.MULTILINE)


def blocks_of(page):
    """Return the fenced blocks of a page, and fail if one of them can't be read."""
    found = blocks(page)
    fences = ANY_FENCE.findall(page.read_text(encoding="utf-8"))
    assert 2 * len(found) == len(fences), f"{page} has a fence of another form"
    return found


def unmeasured(line):
    """Return a line without its durations and version numbers, which differ by machine."""
    line = re.sub(r"\d[\d,.]* (s|ms|µs)\b", r"# \1", line)
    return re.sub(r"\d+\.\d+\.\d+\S*", "#.#.#", line)


def shape_of(line):
    return re.sub(r"\d[\d,.]*", "#", line)


def check_pip(words):
    """Check that each thing that `pip install` gets is this project, with extras that exist."""
    extras = set(metadata.metadata("jobstore").get_all("Provides-Extra"))
    assert words[:2] == ["pip", "install"], words
    for word in words[2:]:
        if word == "-e":
            continue
        name, _, wanted = word.partition("[")
        assert name in {"jobstore", "."}, f"{word} is not this project"
        missing = set(filter(None, wanted.rstrip("]").split(","))) - extras
        assert not missing, f"{word}: the project has no extra {missing}"


def check_make(words, makefile):
    """Check that the Makefile has the targets and uses the variables."""
    text = makefile.read_text(encoding="utf-8")
    targets = set(MAKE_TARGET.findall(text))
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        assert (f"$({name})" in text) if equals else (name in targets), f"make has no {word}"


class Terminal:
    """A program that runs while the reader goes on, and the lines that it has printed."""

    def __init__(self, command, folder, environment):
        self.lines = []
        self.mark = 0  # the lines before it were printed before the last command
        self._process = start(command, folder, environment)
        self._printed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stdout:
            with self._printed:
                self.lines.append(line.rstrip("\n"))
                self._printed.notify_all()

    def wait_for(self, shown, alike):
        """Wait until each line that is shown was printed after the last command."""
        wanted = {alike(line) for line in shown}
        with self._printed:
            self._printed.wait_for(
                lambda: wanted <= {alike(line) for line in self.lines[self.mark :]}, PATIENCE
            )
            missing = wanted - {alike(line) for line in self.lines[self.mark :]}
        assert not missing, f"missing {missing}, printed: {self.lines[-20:]}"

    def interrupt(self):
        """Press Ctrl-C, if the program still runs, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # shows all threads, by PYTHONFAULTHANDLER
            self._thread.join(PATIENCE)
            raise AssertionError("not ended by Ctrl-C:\n" + "\n".join(self.lines)) from None

    def close(self):
        """End the program, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()


def start(command, folder, environment):
    words = shlex.split(command)
    if words[0] == "python":
        command = [sys.executable, *words[1:]]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        shell=isinstance(command, str),
        start_new_session=True,
    )


class Reader:
    """Somebody who follows a page: saves the files, types the commands, compares the output.

    A Python block with a title is saved as the file of that name. A shell block is typed, and the
    text block after it shows all its output. A shell block with a title is typed in the terminal
    of that name, and goes on running there. Each line of a text block with a terminal's title is
    printed there after the last command, in any order.

    :param folder: an empty folder to work in.
    :param environment: the environment of the programs.
    :param makefile: the project's Makefile.
    """

    def __init__(self, folder, environment, makefile):
        self.terminals = {}
        self._folder = folder
        self._environment = environment
        self._makefile = makefile
        self._output = None  # of the last shell block, until it was compared

    def save(self, block):
        self._folder.joinpath(block.title).write_text(block.code, encoding="utf-8")

    def follow(self, blocks):
        """Do all that a page says. Fail at a block for which there is no rule."""
        for block in blocks:
            if block.language != "text":
                assert not self._output, f"the page doesn't show this output: {self._output}"
                for terminal in self.terminals.values():
                    terminal.mark = len(terminal.lines)
            match block.language:
                case "python":
                    assert block.title, f"no file name for:\n{block.code}"
                    self.save(block)
                case "sh":
                    self._type(block)
                case "text":
                    self._compare(block)
                case "mermaid":
                    pass
                case other:
                    raise AssertionError(f"no rule for a block of {other}")
        assert not self._output, f"the page doesn't show this output: {self._output}"
        last_first = reversed(self.terminals.items())  # the server ends last
        codes = {title: terminal.interrupt() for title, terminal in last_first}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, codes

    def close(self):
        for terminal in reversed(self.terminals.values()):
            terminal.close()

    def _type(self, block):
        commands = [line for line in block.code.splitlines() if not line.startswith("#")]
        if block.title:
            (command,) = commands
            assert block.title not in self.terminals, f"{block.title} is busy"
            self.terminals[block.title] = Terminal(command, self._folder, self._environment)
            return
        self._output = [line for command in commands for line in self._run(command)]

    def _run(self, command):
        words = shlex.split(command, comments=True)
        match words[0]:
            case _ if command in ENVIRONMENT:
                return []
            case "pip":
                check_pip(words)
                return []
            case "make":
                check_make(words, self._makefile)
                return []
            case "mkdir":
                self._folder.joinpath(words[1]).mkdir()
                return []
            case "cd":
                self._folder /= words[1]
                return []
            case "python" | "kill":
                process = start(command, self._folder, self._environment)
                printed, _ = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0, f"{command}: {printed}"
                return [line for line in printed.splitlines() if OUT_OF_TIME not in line]
            case other:
                raise AssertionError(f"no rule for the command {other}")

    def _compare(self, block):
        shown = block.code.splitlines()
        if block.title:
            title = block.title.removesuffix(EXAMPLE)
            self.terminals[title].wait_for(shown, unmeasured if title == block.title else shape_of)
            return
        printed = [unmeasured(line) for line in self._output]
        assert printed == [unmeasured(line) for line in shown], f"printed: {printed}"
        self._output = None


def wait_for_run(scheduler, add):
    """Start a scheduler, let `add` add a job that calls an event's `set`, and wait for its run.

    The job runs once. Its removal comes last, and needs a scheduler that hasn't begun to shut down.
    """
    ran, removed = threading.Event(), threading.Event()
    scheduler.add_listener(lambda event: removed.set(), EVENT_JOB_REMOVED)
    scheduler.start()
    try:
        add(ran)
        assert ran.wait(PATIENCE)
        assert removed.wait(PATIENCE)
    finally:
        scheduler.shutdown()
