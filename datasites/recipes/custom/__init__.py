"""Programs of one's own: what one shopper contributes, summed and noised by ToyFed."""
