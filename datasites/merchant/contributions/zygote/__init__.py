"""Runs alone inside the sandbox, without the package around it: see `__main__`."""
