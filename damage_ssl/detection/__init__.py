"""Buildings from the pre image alone, for events without footprints.

In order: `area` (one UTM grid, read square by square) → `samples` (squares with known buildings, crops, Copy-Paste) →
`training` (U-Net of `network`, then self-training) → `model` (the file) → `inference` (tiles blended into a map on
disk) → `instances` and `polygons` (single buildings, outlines) → `regularise` → `detect` (ids, footprints of an event).
`evaluation` compares with drawn footprints.
"""
