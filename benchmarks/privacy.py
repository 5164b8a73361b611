"""What sigma = 2 Delta / epsilon really gives, beside the noise that is needed."""

from __future__ import annotations

from recsys.privacy import epsilon_of, mu_of

DELTA = 1e-5


def run() -> None:
    """Print the table of docs/privacy.md."""
    print(f"one Gaussian release, delta = {DELTA:g}, noise in units of the L2 sensitivity")
    print(f"{'asked':>6} {'2/eps':>7} {'really':>8} {'needed':>7}")
    for epsilon in (0.5, 1.0, 2.0, 5.0):
        claimed = 2 / epsilon
        really = epsilon_of(1 / claimed, DELTA)
        print(f"{epsilon:6g} {claimed:7.2f} {really:8.2f} {1 / mu_of(epsilon, DELTA):7.2f}")
