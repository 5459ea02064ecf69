"""Weak and strong views of pairs."""
