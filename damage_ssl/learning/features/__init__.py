"""Frozen features of pairs and what is fitted on them."""
