"""The merchant's privacy ledger: what was asked, approved, run, released, and what it all cost."""

from datasites.merchant.ledger.books import EARLIER, LOST
from datasites.merchant.ledger.export import export_text, verify_export
from datasites.merchant.ledger.facts import Approval, Cost, Request, Reservation
from datasites.merchant.ledger.forecast import Forecast, Moment, forecast, spending_over_time
from datasites.merchant.ledger.ledger import Ledger, Period
from datasites.merchant.ledger.records import Entry
from datasites.merchant.ledger.sighting import Sighting

__all__ = [
    "EARLIER",
    "LOST",
    "Approval",
    "Cost",
    "Entry",
    "Forecast",
    "Ledger",
    "Moment",
    "Period",
    "Request",
    "Reservation",
    "Sighting",
    "export_text",
    "forecast",
    "spending_over_time",
    "verify_export",
]
