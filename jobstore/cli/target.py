"""TARGET, the address of a collection: ``mongodb://host/database.collection``."""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple
from urllib.parse import unquote

import pymongo
from pymongo import MongoClient
from pymongo.errors import InvalidName, PyMongoError

from ..mongodb import MongoDBJobStore
from ..mongodb.presence.format import check_readable
from .failures import WRONG, CommandError, hide, short

__all__ = ["Target", "limited", "open_store", "split_words"]

VARIABLE = "JOBSTORE_URL"
SCHEMES = "mongodb://", "mongodb+srv://"
DATABASE, COLLECTION = "apscheduler", "jobs"  # the store's defaults
PATIENCE = 3.0  # seconds to find the server and to get its first answer
TIMEOUTS = {"timeoutms", "serverselectiontimeoutms", "connecttimeoutms", "sockettimeoutms"}
UNQUOTED = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Target(NamedTuple):
    """A collection of jobs, and how to reach it.

    :ivar url: the URL, for `MongoClient`; contains the password.
    :ivar database: the database's name.
    :ivar collection: the collection's name.
    :ivar options: the names of the URL's options, in lower case.
    """

    url: str
    database: str
    collection: str
    options: frozenset[str]

    @classmethod
    def parse(cls, url: str | None) -> "Target":
        """Split a URL; None stands for ``$JOBSTORE_URL``.

        :raises CommandError: if the URL is missing or wrong.
        """
        url = url or os.environ.get(VARIABLE)
        if not url:
            raise CommandError(
                f"TARGET is missing: name mongodb://host/database.collection, or set ${VARIABLE}",
                WRONG,
            )
        scheme, separator, rest = url.partition("://")
        if scheme + separator not in SCHEMES:
            shown = hide(url, [url])
            raise CommandError(
                f"TARGET is {shown!r}: it must begin with mongodb:// or mongodb+srv://", WRONG
            )
        place, _, options = rest.partition("?")
        hosts, _, path = place.partition("/")
        check_hosts(hosts, path, options)
        database, _, collection = unquote(path).partition(".")
        names = re.split("[&;]", options)
        return cls(
            url,
            database or DATABASE,
            collection or COLLECTION,
            frozenset(each.partition("=")[0].lower() for each in names),
        )

    def __str__(self) -> str:
        return f"{self.database}.{self.collection}"


def check_hosts(hosts: str, path: str, options: str) -> None:
    """Refuse a password with characters that end it too early: the driver's error would quote them.

    :raises CommandError: without the password.
    """
    user, at, _ = hosts.rpartition("@")
    is_cut = not at and "@" in path
    if not at and "@" in options:  # either in the password, or an option's value
        port = hosts.rpartition(",")[2].rpartition("]")[2].partition(":")[2]
        is_cut = bool(port) and not port.isdigit()
    if is_cut or user.count(":") > 1 or UNQUOTED.search(user) or "@" in user or "#" in hosts:
        raise CommandError(
            "TARGET: a character of the user name or the password must be percent-encoded, such as "
            "%40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %",
            WRONG,
        )


def split_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Split arguments into TARGET, None if they don't begin with it, and the others."""
    if words and words[0].startswith(SCHEMES):
        return words[0], list(words[1:])
    return None, list(words)


@contextmanager
def open_store(
    url: str | None, *, check: bool = True, writes: bool = False, **arguments: Any
) -> Iterator[tuple[MongoDBJobStore, Target]]:
    """Yield a store on a collection, after the server has answered, and its format is known.

    A server that can't be reached, or hangs, is an error after 3 s, unless the URL has time limits
    of its own.

    :param url: the URL; None stands for ``$JOBSTORE_URL``.
    :param check: whether to wait for an answer of the server, and to check the format.
    :param writes: whether the command writes to jobs.
    :param arguments: more arguments of the store.
    :raises CommandError: if the URL is wrong.
    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    target = Target.parse(url)
    has_limits = bool(TIMEOUTS & target.options)
    limits: dict[str, Any] = {}
    if not has_limits:
        milliseconds = int(PATIENCE * 1000)
        limits = {"serverSelectionTimeoutMS": milliseconds, "connectTimeoutMS": milliseconds}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # such as that of an unknown option
            client = MongoClient[dict[str, Any]](target.url, **limits)
    except (PyMongoError, ValueError, TypeError, UserWarning) as error:
        raise CommandError(f"TARGET: {error}", WRONG) from error
    with client:
        try:
            store = MongoDBJobStore(target.database, target.collection, client=client, **arguments)
        except (ValueError, InvalidName) as error:
            raise CommandError(f"TARGET: {error}", WRONG) from error
        if check:
            greet(client, None if has_limits else PATIENCE)
            check_format(store, writes)
        yield store, target


def check_format(store: MongoDBJobStore, writes: bool) -> None:
    """Refuse a collection of a newer format: an old program would misread or damage it.

    :raises CommandError: with the format, and what to do.
    """
    with limited(store.client):
        try:
            check_readable(store._connection, writes)
        except ValueError as error:
            raise CommandError(str(error)) from error


def limited(client: MongoClient[dict[str, Any]]) -> AbstractContextManager[object]:
    """Bound the time of a command, unless the URL does."""
    return nullcontext() if client.options.timeout is not None else pymongo.timeout(PATIENCE)


def greet(client: MongoClient[dict[str, Any]], seconds: float | None) -> None:
    """Wait for an answer of the server.

    :param seconds: the time limit; None leaves it to the client's options.
    :raises CommandError: if there is no answer in that time.
    :raises pymongo.errors.PyMongoError: for all other errors.
    """
    with nullcontext() if seconds is None else pymongo.timeout(seconds):
        try:
            client.admin.command("ping")
        except PyMongoError as error:
            if seconds is None or not error.timeout:
                raise
            raise CommandError(
                f"no answer from the server within {seconds:g} s: {short(error)} -- does it run at "
                "this address? The URL's option timeoutMS allows more time"
            ) from error
