"""Shapefile, for those who have nothing newer: names of ten characters, text of 254 bytes, a list of both names."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd

from damage_ssl.files import storage_errors, write_text
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.ogr import checked, write_layer

_NAME = 10


def write_shapefile(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write `.shp`, `.shx`, `.dbf`, `.prj`, `.cpg`, and `<name>.fields.csv` with the short and the whole names.

    The files are made in a folder of their own and moved when all are there.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    path = Path(path)
    table = checked(product, path)
    names = short_names([str(name) for name in table.columns.drop(table.geometry.name)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        storage_errors(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name,
        warnings.catch_warnings(),
    ):
        folder = Path(name)
        warnings.filterwarnings("ignore", ".*(truncated|width|not successfully written)", RuntimeWarning)
        write_layer(
            table.rename(columns=names), folder / path.name, "ESRI Shapefile", layer=path.stem, ENCODING="UTF-8"
        )
        lines = [f"{short},{whole}" for whole, short in names.items()]
        write_text(folder / f"{path.stem}.fields.csv", "\n".join(["field,name", *lines]) + "\n")
        for made in sorted(folder.iterdir()):
            made.replace(path.with_name(made.name))


def short_names(names: list[str]) -> dict[str, str]:
    """Names of at most ten characters, each once: the beginning of each word, in order."""
    found: dict[str, str] = {}
    for name in names:
        short = name if len(name) <= _NAME else "_".join(word[:3] for word in name.split("_"))[:_NAME]
        number = 1
        while short.lower() in {other.lower() for other in found.values()}:
            number += 1
            short = f"{short[: _NAME - len(str(number))]}{number}"
        found[name] = short
    return found


FORMATS: Mapping[str, ProductWriter] = {".shp": write_shapefile}
