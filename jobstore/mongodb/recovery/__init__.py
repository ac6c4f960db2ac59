"""Recovery: after an unclean end, find the job that ends its process."""
