"""The JSON API for support."""
