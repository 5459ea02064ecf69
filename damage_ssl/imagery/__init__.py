"""A scene and its pixels: bands, masks, chunks, overviews. Knows no building."""
