"""The merchant's privacy ledger: what was asked, approved, run, released, and what it all cost."""

from datasites.merchant.ledger.books import Approval, Cost, Request, Reservation
from datasites.merchant.ledger.ledger import Ledger
from datasites.merchant.ledger.records import Entry

__all__ = ["Approval", "Cost", "Entry", "Ledger", "Request", "Reservation"]
