"""Signs states, and checks signatures.

A signature holds for one state of one job in one collection. It doesn't cover the run time: stock
stores, and the moves of overdue jobs, change it without the state.
"""

import hmac
from typing import Any

from .keys import Keys, SigningKeys
from .untrusted import UntrustedError

__all__ = ["SIGNATURE", "Signatures"]

SIGNATURE = "signature"  # the document's field: {by: the key's id, of: the HMAC}


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
        """Make the field `signature`; O(length of the state), 2 µs for 500 bytes.

        :raises ValueError: if the keys can't be used.
        """
        key = self.keys.first
        return {"by": key.id, "of": key.sign(job_id, state)}

    def check(self, job_id: object, state: object, signature: object) -> None:
        """Refuse a state that may not be unpickled; O(length of the state).

        :param signature: the document's field `signature`; None if it has none.
        :raises UntrustedError: says why.
        """
        if signature is not None or not self._runs_unsigned:
            self.verify(job_id, state, signature)
        else:
            self.keys.load()  # a job that runs is written, and then signed

    def verify(self, job_id: object, state: object, signature: object) -> str:
        """Return the id of the key that has signed a state; O(length of the state).

        :raises UntrustedError: if the signature is missing or wrong; says why.
        """
        if signature is None:
            raise UntrustedError("it has no signature")
        if not isinstance(signature, dict):
            raise UntrustedError("its signature is damaged")
        key_id, found = signature.get("by"), signature.get("of")
        if type(key_id) is not str or type(found) is not bytes:
            raise UntrustedError("its signature is damaged")
        if type(job_id) is not str or type(state) is not bytes:  # no job, so nobody has signed it
            raise UntrustedError("its signature is wrong")
        key = self.keys.get(key_id)
        if not hmac.compare_digest(found, key.sign(job_id, state)):
            raise UntrustedError("its signature is wrong")
        return key_id
