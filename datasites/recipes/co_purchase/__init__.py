"""The recipe `co-purchase`: noised sums of toys bought together, over pairs the catalogue lists."""
