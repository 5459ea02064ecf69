"""pyogrio without those drivers of GDAL that follow references, fetch addresses or start programs.

pyogrio 0.12 has no `allowed_drivers`: a driver that is not to open files must not be registered. GDAL reads `GDAL_SKIP`
when it registers its drivers, which pyogrio lets it do once, when it is imported; the variable is as it was afterwards,
since rasterio registers its own drivers again and again and warns of each that has gone. Whoever has imported pyogrio
before has all drivers; what they would open is refused by `content`.
"""

import os

SKIPPED = (
    "OGR_VRT,GDALG,WFS,OAPIF,OGCAPI,HTTP,CSW,Elasticsearch,Carto,AmigoCloud,PLSCENES,NGW,EEDA,ADBC,AIVector,GPSBabel,"
    "GeoRSS,LVBAG"
)
"""No file is opened by one of these. Drivers that the wheels lack are not named, since GDAL warns of each."""

_before = os.environ.get("GDAL_SKIP")
os.environ["GDAL_SKIP"] = SKIPPED if not _before else f"{_before},{SKIPPED}"
try:
    import pyogrio
finally:
    if _before is None:
        del os.environ["GDAL_SKIP"]
    else:
        os.environ["GDAL_SKIP"] = _before

__all__ = ["SKIPPED", "pyogrio"]
