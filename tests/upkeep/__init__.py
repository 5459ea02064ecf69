"""Keeping an event well."""
