"""The provider's door: signed notifications."""
