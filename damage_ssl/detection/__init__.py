"""Buildings from the pre image alone, for events without footprints.

In order: `search_grid` (one UTM grid, read square by square) → `training_tiles` (squares with known buildings, crops,
Copy-Paste) → `trainer` (U-Net of `unet`, then self-training) → `detector` (the file) → `probability_map` (tiles blended
into a map on disk) → `instances` and `polygons` (single buildings) → `outlines` → `building_detection` (ids, footprints
of an event). `scores` compares with drawn footprints.
"""
