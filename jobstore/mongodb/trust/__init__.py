"""Which states may be unpickled: by their signatures, and by the names in them."""
