"""Checks at each start that the server supports the commands that the store needs.

Some servers speak MongoDB's protocol, but refuse updates with a pipeline. Guarded writes are such
updates: each job would run once, and its next run time would never be written.
"""

from bson import ObjectId
from pymongo import WriteConcern
from pymongo.errors import OperationFailure

from .connection import START_SECONDS, UNAUTHORIZED, Connection
from .documents import Document

__all__ = ["WIRE_VERSION", "check_server"]

WIRE_VERSION = 9  # of MongoDB 4.4
PIPELINE: list[Document] = [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"since": "$$NOW"}]}}]
# BadValue, FailedToParse, TypeMismatch, CommandNotSupported, InvalidPipelineOperator,
# NotImplemented, "feature not supported"; no such variable, no such stage.
UNSUPPORTED = {2, 9, 14, 115, 168, 238, 303, 17276, 40324}


def check_server(connection: Connection) -> None:
    """Try an update with a pipeline that matches nothing; 1 command.

    :raises ValueError: if the server lacks such updates, or is older than MongoDB 4.4.
    :raises pymongo.errors.PyMongoError: if the update fails for any other reason except missing
        rights.
    """
    # Nothing is written, so `w=1` suffices. PyMongo sends no transaction number with
    # `update_many`: so a server that refuses retryable writes isn't mistaken for one that refuses
    # pipelines.
    jobs = connection.jobs.with_options(write_concern=WriteConcern(w=1))
    try:
        with connection.limit(START_SECONDS):
            jobs.update_many({"_id": ObjectId()}, PIPELINE)
    except OperationFailure as error:
        if error.code in UNSUPPORTED:
            raise ValueError(
                f"{connection.describe()}: the server lacks updates with an aggregation pipeline "
                f"({error}). Use MongoDB 4.4 or later, or a server that takes such updates"
            ) from error
        if error.code != UNAUTHORIZED:  # a user who may only read gets the error at the first write
            raise
    version = connection.client.topology_description.common_wire_version
    if version and version < WIRE_VERSION:  # unknown behind a load balancer
        raise ValueError(
            f"{connection.describe()}: the server's wire version is {version}, so it is older "
            f"than MongoDB 4.4, whose wire version is {WIRE_VERSION}. Use MongoDB 4.4 or later"
        )
