"""History: records of runs and incidents in the collection ``<jobs>_runs``."""
