"""The JSON API for customers and support."""
