"""`python -m datasites.merchant HOME`: the service without the command line around it."""

from __future__ import annotations

import sys
from pathlib import Path

from datasites.merchant.home import MerchantHome
from datasites.merchant.loop import serve

if __name__ == "__main__":
    serve(MerchantHome.open(Path(sys.argv[1])))
