"""Verify a notification by ``nowpayments-py``: ``BODY SIGNATURE SECRET``."""

import json
import sys

from nowpayments import verify_ipn_signature

sys.stdout.write(json.dumps(verify_ipn_signature(*sys.argv[1:])))
