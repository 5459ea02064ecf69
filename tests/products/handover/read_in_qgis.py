"""Run by the system's Python with QGIS: opens every layer of a pack and its project, and prints what it found as JSON.

`QT_QPA_PLATFORM=offscreen /usr/bin/python3 read_in_qgis.py PACK`
"""

import json
import sys
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsRenderContext, QgsVectorLayer  # type: ignore

QgsApplication.setPrefixPath("/usr", True)
application = QgsApplication([], False)
application.initQgis()
pack = Path(sys.argv[1])


def told(layer: Any) -> dict[str, Any]:
    found = {"valid": layer.isValid(), "name": layer.name(), "crs": layer.crs().authid()}
    if isinstance(layer, QgsRasterLayer):
        classes = [[entry.value, entry.label, entry.color.name()] for entry in layer.renderer().classes()]
        return {**found, "kind": layer.renderer().type(), "classes": classes, "size": [layer.width(), layer.height()]}
    renderer, drawn = layer.renderer(), {}
    if renderer is None:  # a table without geometry
        return {**found, "kind": "table", "features": layer.featureCount(), "fields": layer.fields().names()}
    context = QgsRenderContext()
    renderer.startRender(context, layer.fields())
    rows = list(layer.getFeatures())
    for feature in rows:
        context.expressionContext().setFeature(feature)
        context.expressionContext().setFields(layer.fields())
        symbol = renderer.symbolForFeature(feature, context)
        colour = None if symbol is None else symbol.color().name()
        drawn[colour] = drawn.get(colour, 0) + 1
    renderer.stopRender(context)
    categories = [category.value() for category in renderer.categories()] if hasattr(renderer, "categories") else []
    return {
        **found,
        "kind": renderer.type(),
        "categories": categories,
        "drawn": {str(colour): count for colour, count in drawn.items()},
        "features": len(rows),
        "fields": [field.name() for field in layer.fields()],
        "damaged": sum(1 for row in rows if "damaged" in row.fields().names() and row["damaged"] == True),  # noqa: E712
    }


answer: dict[str, Any] = {"files": {}, "project": {}}
for path in sorted([*pack.glob("buildings.*"), *pack.glob("extra/**/buildings.shp"), *pack.glob("extra/*.pmtiles")]):
    if path.suffix in (".xlsx", ".parquet", ".pmtiles"):  # Debian's GDAL 3.6 has no driver for the last two
        continue
    layer = QgsVectorLayer(str(path), path.stem, "ogr")
    if not layer.isValid():
        answer["files"][path.name] = {"valid": False}
        continue
    inner = [each.split("!!::!!")[1] for each in layer.dataProvider().subLayers()]
    for name in inner:
        one = QgsVectorLayer(f"{path}|layername={name}" if len(inner) > 1 else str(path), name, "ogr")
        answer["files"][f"{path.name}:{name}" if len(inner) > 1 else path.name] = told(one)
answer["files"]["map.tif"] = told(QgsRasterLayer(str(pack / "map.tif"), "map"))
project = QgsProject.instance()
answer["project"]["read"] = project.read(str(pack / "project.qgz"))
answer["project"]["title"] = project.title()
answer["project"]["layers"] = {name: told(layer) for name, layer in project.mapLayers().items()}
answer["project"]["order"] = [node.layerId() for node in project.layerTreeRoot().findLayers()]
if len(sys.argv) > 2:
    from qgis.core import QgsMapRendererParallelJob, QgsMapSettings
    from qgis.PyQt.QtCore import QSize

    settings = QgsMapSettings()
    settings.setLayers([node.layer() for node in project.layerTreeRoot().findLayers() if node.isVisible()])
    settings.setExtent(project.mapLayer("damage_ssl_buildings").extent())
    settings.setOutputSize(QSize(900, 700))
    rendering = QgsMapRendererParallelJob(settings)
    rendering.start()
    rendering.waitForFinished()
    rendering.renderedImage().save(sys.argv[2])
print(json.dumps(answer))
