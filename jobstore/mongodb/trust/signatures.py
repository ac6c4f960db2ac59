"""Signs states, and checks signatures.

A signature holds for one state of one job in one collection. It doesn't cover the run time: stock
stores, and the moves of overdue jobs, change it without the state.
"""

import hmac
from sys import intern
from typing import Any

from .keys import ID_LENGTH, Keys, SigningKeys
from .untrusted import UntrustedError

__all__ = ["SIGNATURE", "TRUSTED", "Signature", "Signatures", "to_field", "to_signature"]

SIGNATURE = "signature"  # the document's field: {by: the key's id, of: the HMAC}

TRUSTED: Any = object()
"""In a record in memory, in place of a signature: this process has made the state itself."""

Signature = tuple[str, bytes]
"""The parts of that field. A mirror keeps millions, and dicts take three times the memory."""


def to_signature(field: object) -> Any:
    """Convert the document's field; a value that is no signature stays as it is."""
    if type(field) is dict:
        key_id, found = field.get("by"), field.get("of")
        if type(key_id) is str and type(found) is bytes:
            # Some Pythons keep interned texts for ever, and anybody may have written a long one.
            return intern(key_id) if len(key_id) == ID_LENGTH else key_id, found
    return field


def to_field(signature: Any) -> Any:
    """Convert a signature, or such a value, back."""
    return {"by": signature[0], "of": signature[1]} if type(signature) is tuple else signature


class Signatures:
    """Signs the states of one collection, and checks their signatures.

    :param signing_keys: the store's argument of that name.
    :param namespace: the names of database and collection, as ``database.collection``.
    :param runs_unsigned: whether a state without a signature counts as trusted.
    :ivar keys: the store's keys.
    :raises ValueError: if the keys can't be used.
    """

    def __init__(self, signing_keys: SigningKeys, namespace: str, runs_unsigned: bool) -> None:
        # No name of a database or a collection has a null character.
        self.keys = Keys(signing_keys, b"jobstore signature 1\0" + namespace.encode() + b"\0")
        self._runs_unsigned = runs_unsigned

    def sign(self, job_id: str, state: bytes) -> dict[str, Any]:
        """Make the field `signature` of a state; O(length of the state), 2 µs for 500 bytes.

        :raises ValueError: if the keys can't be used.
        """
        key = self.keys.first
        return {"by": key.id, "of": key.sign(job_id, state)}

    def check(self, job_id: object, state: object, signature: object) -> str | None:
        """Refuse a state that may not be unpickled; O(length of the state).

        Returns the id of the key that has signed it; None if nobody has, and that is accepted.

        :param signature: the document's field, None if it has none; a `Signature`; or `TRUSTED`.
        :raises UntrustedError: says why.
        """
        if signature is TRUSTED:
            return None
        if signature is None:
            if not self._runs_unsigned:
                raise UntrustedError("it has no signature")
            self.keys.load()  # a job that runs is written, and then signed
            return None
        signature = to_signature(signature)
        if type(signature) is not tuple:
            raise UntrustedError("its signature is damaged")
        key_id, found = signature
        if type(job_id) is not str or type(state) is not bytes:  # no job, so nobody has signed it
            raise UntrustedError("its signature is wrong")
        key = self.keys.get(key_id)
        if not hmac.compare_digest(found, key.sign(job_id, state)):
            raise UntrustedError("its signature is wrong")
        return key.id

    def verify(self, job_id: object, state: object, field: object) -> str:
        """Return the id of the key that has signed a state; O(length of the state).

        :param field: the document's field `signature`; None if it has none.
        :raises UntrustedError: if the signature is missing or wrong; says why.
        """
        key_id = self.check(job_id, state, field)
        if key_id is None:
            raise UntrustedError("it has no signature")
        return key_id
