"""Registered models, and the gates between being registered and being relied on."""
