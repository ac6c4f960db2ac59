"""Counts the jobs that a search would page over."""

from ...describe import describe
from ...where import Where
from ..about_field import stored_about
from ..connection import Connection
from .filters import counted
from .patience import patiently

__all__ = ["count"]

FIELDS = ["about", "job_state"]  # read along with `_id`


def count(connection: Connection, where: Where) -> int:
    """Count jobs; 1 command, O(n) in the server; if texts are asked for, their states are read."""
    query = counted(where)
    if not where.needs_about:
        return patiently(connection, lambda: connection.jobs.count_documents(query))
    number = 0
    for document in connection.read(connection.jobs.find(query, FIELDS)):
        about = stored_about(document)
        if about is None:
            about = describe(document).about
        number += where.is_about(about)
    return number
