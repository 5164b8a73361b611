"""Measurements that anyone can repeat with `make bench`: side by side in one run, with ratios."""
