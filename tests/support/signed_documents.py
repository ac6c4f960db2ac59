"""Signs the documents of a test's collection, or some of them."""

from jobstore.mongodb.trust.all_states import unverified
from jobstore.mongodb.trust.signatures import Signatures

KEY, OLD_KEY = b"k" * 16, b"o" * 16
KEYS = [KEY, OLD_KEY]
REFERENCE = f"{__name__}:KEYS"  # for --keys


def signatures_of(collection, *keys):
    """Return what signs, and verifies, the states of a collection."""
    namespace = f"{collection.database.name}.{collection.name}"
    return Signatures([*keys] or [KEY], namespace, runs_unsigned=False)


def sign(collection, *job_ids, key=KEY):
    """Give the documents with these ids, or all, valid signatures; return the key's id."""
    signatures = signatures_of(collection, key)
    for document in collection.find({"_id": {"$in": job_ids}} if job_ids else {}):
        signature = signatures.sign(document["_id"], document["job_state"])
        collection.update_one({"_id": document["_id"]}, {"$set": {"signature": signature}})
    return signatures.keys.first.id


def all_unverified(store, trusted, limit=1000):
    """Return the jobs of all pages."""
    found, after = [], None
    while page := unverified(store._connection, trusted, after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1].key
    return found
