"""The keys that sign states, and their ids; no database here.

A key is a secret: no error, log line or `repr` shows it.
"""

import hmac
import logging
import struct
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from apscheduler.util import maybe_ref

from .untrusted import UnknownKeyError

__all__ = ["ID_LENGTH", "Key", "Keys", "SigningKeys"]

SigningKeys = Sequence[bytes] | Callable[[], Sequence[bytes]] | str

HASH = "sha256"
MIN_BYTES = 16
ASK_SECONDS = 10.0  # from one question for the keys to the next one
KEY_ID = b"jobstore key id"  # signed with a key, it makes the key's id
ID_BYTES = 8
ID_LENGTH = 2 * ID_BYTES  # of a key's id, in hexadecimal
LENGTH = struct.Struct(">I").pack  # of the id, in the signed bytes
ALLOWED = f"a list of bytes, {MIN_BYTES} or more each, or a callable that returns such a list"


class Key:
    """A key, ready to sign the states of one collection.

    :param context: the first bytes of everything that is signed; they name the collection.
    :ivar id: names the key in signatures, and doesn't tell it.
    """

    __slots__ = ("_signed", "id")

    def __init__(self, key: bytes, context: bytes) -> None:
        self.id = hmac.digest(key, KEY_ID, HASH)[:ID_BYTES].hex()
        signed = hmac.new(key, context, HASH)
        # The compiled object inside, where there is one: its methods take 0.3 µs less.
        self._signed: Any = getattr(signed, "_hmac", None) or signed

    def sign(self, job_id: str, state: bytes) -> bytes:
        """Return the HMAC-SHA256 of the context, the id and the state; O(length of the state).

        A copy of the object takes less time than ``hmac.digest``, which looks the hash function up
        each time: 1.3 and 2.4 µs for 500 bytes.
        """
        name = job_id.encode("utf-8", "surrogatepass")
        signed = self._signed.copy()
        signed.update(LENGTH(len(name)) + name + state)  # the length tells where the id ends
        digest: bytes = signed.digest()
        return digest


class Keys:
    """The keys of a store: the first one signs, and all verify.

    Several threads may use it. A callable is called first when a key is needed.

    :param signing_keys: the store's argument of that name.
    :param context: see `Key`.
    :ivar retry_at: when the callable may be asked again, by the monotonic clock.
    :ivar logger: takes the warning that the callable failed.
    :raises ValueError: if the keys can't be used; names the first bad one by its place.
    """

    def __init__(self, signing_keys: SigningKeys, context: bytes) -> None:
        self._source = _resolved(signing_keys)
        self._context = context
        self._keys: list[Key] = []  # so few that a search takes as long as a dict's
        self.retry_at = -inf  # the first question doesn't count
        self._answered_at = -inf  # by the monotonic clock; when the last answered question began
        self.logger = logging.getLogger(__name__)
        if not callable(self._source):
            self._keys = self._made(self._source)

    def load(self) -> None:
        """Ask for the keys, if that has not succeeded yet.

        :raises ValueError: if the keys can't be used.
        :raises Exception: that of the callable.
        """
        if not self._keys:
            self._keys = self._made(self._source())

    @property
    def first(self) -> Key:
        """The key that signs; errors as in `load`."""
        self.load()
        return self._keys[0]

    def get(self, key_id: str) -> Key:
        """Return the key with that id; asks for the keys again if it is unknown.

        :raises UnknownKeyError: if it is unknown all the same, or if the last question is too
            recent.
        """
        self.load()
        if (key := self._find(key_id)) is not None:
            return key
        self._ask_again()
        if (key := self._find(key_id)) is not None:
            return key
        raise UnknownKeyError(key_id)

    def are_as_of(self, seconds: float) -> bool:
        """Whether the keys are those of that time or later, by the monotonic clock.

        If so, a key that is unknown here was unknown to the callable when it signed.
        """
        return not callable(self._source) or self._answered_at >= seconds

    def _ask_again(self) -> None:
        now = time.monotonic()
        if not callable(self._source) or now < self.retry_at:
            return
        self.retry_at = now + ASK_SECONDS  # first, so that no other thread asks meanwhile
        try:
            self._keys = self._made(self._source())
        except Exception as error:
            self.logger.warning("Unable to ask for the signing keys again: %s", error)
        else:
            self._answered_at = now
        finally:  # a callable that waits for long doesn't wait again for the next job
            self.retry_at = time.monotonic() + ASK_SECONDS

    def _find(self, key_id: str) -> Key | None:
        for key in self._keys:
            if key.id == key_id:
                return key
        return None

    def _made(self, keys: Any) -> list[Key]:
        if not isinstance(keys, list | tuple) or not keys:
            raise ValueError(f"signing_keys is {_kind(keys)}: it must be {ALLOWED}")
        for place, key in enumerate(keys):
            if not isinstance(key, bytes) or len(key) < MIN_BYTES:
                raise ValueError(f"signing_keys[{place}] is {_kind(key)}: it must be {ALLOWED}")
        return [Key(key, self._context) for key in keys]


def _resolved(signing_keys: SigningKeys) -> Any:
    """Resolve a textual reference."""
    try:
        return maybe_ref(signing_keys)
    except Exception as error:
        kind = type(error.__cause__ or error).__name__
        raise ValueError(  # without the error itself: the text may be a key, and its error show it
            f"signing_keys is a text that names no list or callable as module:name ({kind}): it "
            f"must be {ALLOWED}"
        ) from None


def _kind(value: object) -> str:
    """Describe a value that may be a secret."""
    kind = type(value).__name__
    return f"{len(value)} {kind}" if isinstance(value, bytes) else f"a {kind}"
