"""Keeping an event well: what is damaged and how it is made again, copies while it is in use."""
