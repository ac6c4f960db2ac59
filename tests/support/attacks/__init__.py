"""Attacks by somebody who may write anything into a collection, and what notes a success."""
