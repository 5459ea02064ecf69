"""Building damage maps from pre/post imagery and a handful of labels, by semi-supervised learning.

Importing the package is cheap: torch, rasterio and geopandas load only with the stage that needs them.
"""

__version__ = "0.1.0"
