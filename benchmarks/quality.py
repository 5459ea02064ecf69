"""How well quality is judged: known faults pasted on an event's pairs, flags by grade, speed, and sheets to look at.

    python -m benchmarks.quality WORKSPACE EVENT [EVENT ...] [--labels EVENT=labels.csv ...] [--sheets DIR] [--out FILE]

The patches of the events must have been cut with the default size (`damage-ssl patches`). For every event: what became
of each footprint; the share of pairs flagged against the opacity of a pasted veil and the degree of other faults; how
often things are flagged that are none (a razed lot, flood water, a white roof); flags and scores by damage grade; pairs
measured a second. With `--sheets`: pictures of the flagged buildings, of the highest scores, and of 100 random assessed
ones. Only sheets of one's own imagery may be published.
"""

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.contact_sheet import contact_sheet
from damage_ssl.event.catalog import Event
from damage_ssl.event.quality import QUALITY_COLUMNS, measure_quality, quality_reason
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings

Picture = NDArray[np.float32]
SETTINGS = PatchSettings()
VEILS = {
    "white cloud": (235, 238, 240),
    "grey smoke": (160, 160, 158),
    "blue haze": (150, 185, 200),
    "brown smoke": (160, 147, 128),
    "dark smoke": (95, 92, 90),
}
OPACITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
SENSOR_NOISE = 3.0
PASTED = 200


def rough(rng: np.random.Generator, shape: tuple[int, int, int], power: float) -> Picture:
    """Noise whose power falls with frequency (clouds: about the cube), [N, H, W], mean 0, standard deviation 1."""
    count, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((count, 2 * height, 2 * width))) * frequency ** (-power / 2)
    noise = np.fft.irfft2(spectrum)[:, :height, :width]
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    return np.asarray(noise / noise.std(axis=(1, 2), keepdims=True), dtype=np.float32)


def taken(scene: Picture, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The 8-bit picture of a scene."""
    return np.clip(np.rint(scene + noise * rng.standard_normal(scene.shape)), 1, 255).astype(np.uint8)


def veiled(
    pixels: NDArray[np.uint8], opacity: float, light: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A veil of a mean opacity that varies over the patch as smoke does, with a light that varies too."""
    shape = (len(pixels), *pixels.shape[2:])
    clear = (1 - opacity) * np.exp(0.25 * rough(rng, shape, 3.0)[:, None])
    bright = np.array(light, np.float32)[None, :, None, None] + 6 * rough(rng, shape, 3.0)[:, None]
    share = np.clip(clear, 0, 1)
    return taken(share * pixels + (1 - share) * bright, SENSOR_NOISE if opacity else 0.0, rng)


def faults(footprint: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Callable[[NDArray[np.uint8]], Picture]]:
    """Other faults by degree, and things that look like one and are none."""
    shape = footprint.shape
    near = ndimage.maximum_filter(footprint, size=(1, 5, 5))[:, None]

    def plain(colour: tuple[int, int, int], texture: float) -> Picture:
        flat = np.array(colour, np.float32)[None, :, None, None] + texture * rough(rng, shape, 2.0)[:, None]
        return np.asarray(flat, np.float32)

    def beyond(pixels: NDArray[np.uint8], share: float) -> Picture:
        columns = np.indices(shape)[2]
        line = [np.quantile(columns[row][mask], share) for row, mask in enumerate(footprint)]
        hidden = columns <= np.array(line)[:, None, None]
        return np.where(hidden[:, None], veiled(pixels, 1.0, VEILS["white cloud"], rng), pixels)

    made: dict[str, Callable[[NDArray[np.uint8]], Picture]] = {
        f"light x {light:g}": lambda pixels, light=light: light * pixels  # type: ignore[misc]
        for light in (0.5, 0.3, 0.2, 0.1, 0.05)
    }
    for sigma in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        made[f"blur of {sigma:g} m"] = lambda pixels, s=sigma / SETTINGS.gsd_m: ndimage.gaussian_filter(  # type: ignore[misc]
            pixels.astype(np.float32), (0, 0, s, s)
        )
    for share in (0.5, 0.8, 0.9, 1.0):
        made[f"cloud over {share:.0%} of the building and one side"] = lambda p, share=share: beyond(p, share)  # type: ignore[misc]
    made["all beyond the sensor's range"] = lambda pixels: np.full(pixels.shape, 300, np.float32)
    made["(no fault) pale slab"] = lambda pixels: np.where(near, plain((190, 188, 184), 3), pixels)
    made["(no fault) clipped white roof"] = lambda pixels: np.where(near, np.float32(300), pixels)
    made["(no fault) muddy water all around"] = lambda pixels: plain((125, 108, 80), 2)
    made["(no fault) grey water all around"] = lambda pixels: plain((95, 96, 88), 2)
    made["(no fault) dark water all around"] = lambda pixels: plain((45, 52, 48), 2)
    made["(no fault) bare soil all around"] = lambda pixels: plain((190, 165, 130), 8)
    made["(no fault) pale gravel all around"] = lambda pixels: plain((170, 167, 160), 8)
    return made


def measured(pairs: PairSet, post: NDArray[np.uint8], pre: NDArray[np.uint8] | None = None) -> dict[str, Picture]:
    view = pairs.close
    valid = view.valid.astype(bool)
    return measure_quality(
        view.pre if pre is None else pre, valid, post, valid, view.footprint.astype(bool), view.gsd_m
    )


def detection(pairs: PairSet, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Share flagged for any reason by what was pasted on the post date."""
    view = pairs.close
    curves: dict[str, dict[str, float]] = {}
    for name, light in VEILS.items():
        flagged, scores = {}, {}
        for opacity in OPACITIES:
            values = measured(pairs, veiled(view.post, opacity, light, rng))
            flagged[f"{opacity:g}"] = _flagged(values)
            scores[f"{opacity:g}"] = round(float(np.nanmedian(values["post_cloud"])), 3)
        curves[name], curves[f"{name}, median score"] = flagged, scores
    light = VEILS["grey smoke"]
    curves["grey smoke on both dates"] = {
        f"{opacity:g}": _flagged(
            measured(pairs, veiled(view.post, opacity, light, rng), veiled(view.pre, opacity, light, rng))
        )
        for opacity in OPACITIES
    }
    curves["other"] = {
        name: _flagged(measured(pairs, taken(fault(view.post), 1.5, rng)))
        for name, fault in faults(view.footprint.astype(bool), rng).items()
    }
    return curves


def by_grade(ids: NDArray[np.str_], values: dict[str, Picture], labels: Path) -> dict[str, dict[str, float]]:
    """Buildings, share flagged, and the 99th percentile and highest of the cloud score, by grade."""
    with labels.open(newline="") as lines:
        grade_of = {row["building_id"]: row["grade"] for row in csv.DictReader(lines)}
    grades = np.array([grade_of.get(name, "none") for name in ids.tolist()])
    reasons, cloud = quality_reason(values, SETTINGS), np.fmax(values["pre_cloud"], values["post_cloud"])
    return {
        grade: {
            "buildings": int((rows := grades == grade).sum()),
            "flagged": round(float(np.mean([reason is not None for reason in reasons[rows]])), 4),
            "cloud score 99 %": round(float(np.nanpercentile(cloud[rows], 99)), 3),
            "highest cloud score": round(float(np.nanmax(cloud[rows])), 3),
        }
        for grade in sorted(set(grades.tolist()))
    }


def _flagged(values: dict[str, Picture]) -> float:
    return round(float(np.mean([reason is not None for reason in quality_reason(values, SETTINGS)])), 3)


def _rate(pairs: PairSet) -> float:
    """Pairs a second of this process's time (other processes do not count)."""
    rates = []
    for _ in range(3):
        start = time.process_time()
        measured(pairs, pairs.close.post)
        rates.append(len(pairs) / (time.process_time() - start))
    return round(max(rates))


def _sheets(pairs: PairSet, values: dict[str, Picture], folder: Path, event: str, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    reasons = quality_reason(values, SETTINGS)
    flagged = np.flatnonzero([reason is not None for reason in reasons])
    unflagged = np.flatnonzero([reason is None for reason in reasons])
    picks = {"flagged": flagged[:100], "random": rng.choice(unflagged, min(100, len(unflagged)), replace=False)}
    for name in QUALITY_COLUMNS:
        if name.endswith(("cloud", "shadow", "saturated", "blur_m")):
            picks[f"highest-{name}"] = np.argsort(-np.nan_to_num(values[name]))[:20]
    for name, rows in picks.items():
        if len(rows):
            contact_sheet(pairs.take(rows), zoom=2).save(folder / f"{event}-{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("events", nargs="+")
    parser.add_argument("--labels", nargs="*", default=[], metavar="EVENT=FILE")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    labels = dict(given.split("=", 1) for given in args.labels)
    report = {}
    for name in args.events:
        rng = np.random.default_rng(args.seed)
        store = PatchStore.open(Event.open(args.workspace, name).patches_path)
        index = store.index()
        ids = index.loc[index["assessed"], "building_id"].to_numpy(dtype=str)
        pairs = store.load(ids)
        values = measured(pairs, pairs.close.post)
        some = pairs.take(np.sort(rng.choice(len(pairs), min(PASTED, len(pairs)), replace=False)))
        report[name] = {
            "footprints": len(index),
            "outcome at the cut": dict(Counter(index["not_assessed_reason"].fillna("assessed").tolist())),
            "flagged among assessed pairs": _flagged(values),
            "pairs a second": _rate(pairs),
            "by grade": by_grade(pairs.building_id, values, Path(labels[name])) if name in labels else {},
            "pasted": detection(some, rng),
        }
        if args.sheets:
            _sheets(pairs, values, args.sheets, name, rng)
        print(json.dumps({name: report[name]}, indent=1), flush=True)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
