"""The doctor: looks at everything that a supporter would ask for, and writes nothing."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from ...inert.texts import cut
from ..connection import UNAUTHORIZED, Connection
from ..presence.scheduler import Scheduler, read_schedulers
from . import checks_collection, checks_schedulers, checks_server, rights
from .facts import Facts, reason_of, unknown
from .finding import Finding

__all__ = ["Check", "attempt", "examine", "refused"]

LONGEST = 1000  # characters of a text, in which others may have written
GRANT = "Grant the user the rights on the page Rights and TLS"
MONITOR = "Run the doctor as a user with the roles clusterMonitor, and read on the database local"
LOGIN = "See the user name and the password, and name the database that has the user: authSource"
CONFIGURE = "Use MongoDB 4.4 or later. See whether the options of the connection suit the server"
RETRY = "Run the doctor again"
UNREACHABLE = (
    "See whether the server runs at this address, has a primary, and lets this machine connect. "
    "No job fires meanwhile, but those of a mirror"
)


class Check(NamedTuple):
    """One check of the doctor.

    :ivar name: the name of its findings.
    :ivar is_ours: whether it reads only collections that the schedulers use, too.
    """

    name: str
    findings: Callable[[Facts], Iterable[Finding]]
    is_ours: bool = True


CHECKS = [
    Check("client", checks_server.client),
    Check("server", checks_server.server),
    Check("write concern", checks_server.write_concern, is_ours=False),
    Check("oplog", checks_server.oplog, is_ours=False),
    Check("snapshots", checks_server.snapshots, is_ours=False),
    Check("rights", rights.rights),
    Check("jobs", checks_collection.jobs),
    Check("format", checks_collection.format_number),
    Check("indexes", checks_collection.indexes),
    Check("mark", checks_collection.mark),
    Check("quarantine", checks_collection.quarantine),
    Check("held", checks_collection.held),
    Check("schedulers", checks_schedulers.schedulers),
    Check("versions", checks_schedulers.versions),
    Check("others", checks_schedulers.others),
    Check("clocks", checks_schedulers.clocks),
    Check("pool", checks_schedulers.pool),
]


def examine(connection: Connection) -> list[Finding]:
    """Make all checks; about 15 commands, which only read.

    A check that the server refuses is a finding, too. An outage is the last finding: it ends the
    examination after the time limit of one command.
    """
    findings: list[Finding] = []
    try:
        facts = gather(connection, findings)
        for check in CHECKS:
            findings += attempt(check, facts)
    except PyMongoError as error:
        findings.append(no_answer(error))
    return findings


def gather(connection: Connection, findings: list[Finding]) -> Facts:
    """Read the facts that many checks need; 3 commands.

    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    with connection.limit():
        connection.client.admin.command("ping")  # `hello` needs no login
        hello = connection.client.admin.command("hello")
        version = tuple(connection.client.server_info()["versionArray"][:3])
    living: list[Scheduler] = []
    is_blind = False
    try:
        living = [each for each in read_schedulers(connection) if each.alive]
    except OperationFailure as error:
        is_blind = True
        findings.append(refused("schedulers", error, is_ours=True))
    return Facts(connection, hello, version, living, is_blind)


def attempt(check: Check, facts: Facts) -> list[Finding]:
    """Make one check.

    :raises pymongo.errors.PyMongoError: if the server can't be reached.
    """
    try:
        with facts.connection.limit():
            found = list(check.findings(facts))
    except OperationFailure as error:
        found = [refused(check.name, error, check.is_ours)]
    return [each._replace(text=cut(each.text, LONGEST)) for each in found]


def no_answer(error: PyMongoError) -> Finding:
    """Return the finding of an outage, of a login that failed, or of a server that is too old."""
    if isinstance(error, ConfigurationError):
        text = f"the client can't use the server: {reason_of(error)}"
        return Finding("down", "connection", text, CONFIGURE)
    if isinstance(error, OperationFailure):
        text = f"the server refuses the client: {reason_of(error)}"
        return Finding("down", "connection", text, LOGIN)
    return Finding("down", "connection", f"no answer: {reason_of(error)}", UNREACHABLE)


def refused(name: str, error: OperationFailure, is_ours: bool) -> Finding:
    """Return the finding of a check that the server refused."""
    if error.code != UNAUTHORIZED:
        return unknown(name, error, RETRY, is_needed=True)
    return unknown(name, error, GRANT if is_ours else MONITOR, is_ours)
