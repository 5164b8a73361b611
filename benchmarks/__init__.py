"""Measurements that anyone can repeat: `make bench`. Side by side in one run, medians and ratios."""
