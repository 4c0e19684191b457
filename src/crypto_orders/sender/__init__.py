"""Sends webhooks to addresses that customers chose: to public ones alone, and within hard limits."""
