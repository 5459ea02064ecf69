"""Footprints × scenes → pre/post pairs on one pixel grid, and the store that keeps them."""
