"""The shared store: many schedulers claim jobs of one collection."""
