"""What a reference to signing keys may find, good and bad."""

from support.signed_documents import KEYS

short = [b"secret"]
text = "secret" * 9
empty: list[bytes] = []


def fails():
    raise ValueError(f"{short} are too short")


def fails_by_name():
    return {}[short[0]]


def missing():
    with open("/no/such/file") as file:
        return file.read()


def good():
    return KEYS
