"""One module per page, and the larger parts of the merchant console."""
