"""The mirrored store: all records in memory, kept current by a change stream."""
