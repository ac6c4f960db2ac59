"""Says what a pickle holds, without running anything of it."""
