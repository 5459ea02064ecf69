"""Simulated towns with known truth."""
