"""Buildings from the pre image alone, for events without footprints; damage of whole scenes with the same machinery.

In order: `area` (one UTM grid, read square by square) → `samples` (squares with known buildings, crops, Copy-Paste) →
`training` (U-Net of `network`, then self-training) → `model` (the file) → `inference` (tiles blended into a map on
disk) → `instances` and `polygons` (single buildings, outlines) → `regularise` → `detect` (ids, footprints of an event).
`evaluation` compares with drawn footprints. `placing` moves footprints to where the registration finds them; `damage`
segments pre and post together into intact and damaged, and gives each footprint its damaged share.
"""
