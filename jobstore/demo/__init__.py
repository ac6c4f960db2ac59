"""``jobstore demo``: compares a scheduler on our store with one on the stock store."""
