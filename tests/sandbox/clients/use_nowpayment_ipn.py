"""Verify a notification by ``nowpayment``: ``BODY SIGNATURE SECRET``."""

import json
import sys

from nowpayment import NowPayments

body, signature, secret = sys.argv[1:]
sys.stdout.write(json.dumps(NowPayments.verify_payment_signature(json.loads(body), secret, signature)))
