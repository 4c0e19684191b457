"""Crypto orders through NOWPayments, worked by support from a published runbook."""
