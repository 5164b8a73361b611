"""Merchants' datasites: transport, review, sandbox, ledger, and the studies that run over them."""
