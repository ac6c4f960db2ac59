"""From the writes of a cycle to the flush, conflicts and quarantine."""
