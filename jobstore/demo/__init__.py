"""``python -m jobstore demo``: a scheduler on our store, then on the stock one, side by side."""
