"""Records of the mirror as documents, and back, and what an event changes in a document."""

from collections.abc import Mapping
from typing import Any

from ..documents import Document, IdKey, Record
from ..trust.signatures import to_field, to_signature

__all__ = ["document_of", "record_of", "with_changes"]

REMOVED = object()  # stands for no value


def record_of(document: Mapping[str, Any]) -> Record:
    """Make the record of a document, with its signature in the shorter form."""
    record = Record.of(document)
    if record.signature is None:
        return record
    return record._replace(signature=to_signature(record.signature))


def document_of(record: Record, marks: Mapping[IdKey, Any]) -> Document:
    """Make the document of a record, with its mark of quarantine."""
    document = {"_id": record.id, "next_run_time": record.run_time, "job_state": record.state}
    if record.claim is not None:  # left by schedulers that shared the collection
        document["acquired_by"] = record.claim
    if record.signature is not None:
        document["signature"] = to_field(record.signature)
    if record.id in marks:
        document["quarantine"] = marks[record.id]
    return document


def with_changes(document: Document, changes: Mapping[str, Any]) -> Document:
    """Change fields and parts of fields, such as ``signature.of``, as an update's event says."""
    values = {**changes["updatedFields"], **dict.fromkeys(changes["removedFields"], REMOVED)}
    for path, value in values.items():
        name, _, part = path.partition(".")
        fields, key = document, path
        if part and isinstance(document.get(name), dict):
            fields = document[name] = {**document[name]}  # the old one belongs to a record
            key = part
        if value is REMOVED:
            fields.pop(key, None)
        else:
            fields[key] = value
    return document
