"""Counts the jobs that a search would page over."""

from pymongo.errors import PyMongoError

from ...describe import describe
from ...where import Where
from ..about_field import stored_about
from ..connection import Connection
from ..documents import Document
from ..slow_line.paced import timed_out
from .filters import counted

__all__ = ["count"]

FIELDS = ["about", "job_state"]  # read along with `_id`
MANY_SECONDS = 300.0  # time limit of a count that takes longer than usual


def count(connection: Connection, where: Where) -> int:
    """Count jobs; 1 command, O(n) in the server; if texts are asked for, their states are read."""
    query = counted(where)
    if not where.needs_about:
        return _count_in_server(connection, query)
    number = 0
    for document in connection.read(connection.jobs.find(query, FIELDS)):
        about = stored_about(document)
        if about is None:
            about = describe(document).about
        number += where.is_about(about)
    return number


def _count_in_server(connection: Connection, query: Document) -> int:
    """Count documents, with a longer time limit if the usual one is too short for so many."""
    try:
        with connection.limit():
            return connection.jobs.count_documents(query)
    except PyMongoError as error:
        if not timed_out(error):
            raise
    connection.now()  # raises in an outage
    with connection.limit(MANY_SECONDS):
        return connection.jobs.count_documents(query)
