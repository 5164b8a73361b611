"""A merchant's datasite: data, review, approvals, sandbox, release gate, ledger, service."""

from datasites.merchant.home import MerchantHome, MerchantSettings
from datasites.merchant.ledger import Ledger
from datasites.merchant.store import add_data

__all__ = ["Ledger", "MerchantHome", "MerchantSettings", "add_data"]
