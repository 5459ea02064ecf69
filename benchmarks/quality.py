"""How well quality is judged: known faults pasted on pairs, flags by damage grade, speed, and sheets to look at.

    python -m benchmarks.quality                      # five real and two simulated events; about a minute of CPU
    python -m benchmarks.quality --events sim-fire --sheets FOLDER

Prints tables: what became of every footprint and how many pairs are flagged, by damage grade (all pairs); the share
flagged by what was pasted on the post date of a sample of each event, faults and things that look like one; pairs a
second. With `--sheets`: what is flagged on each event, 100 random unflagged pairs, the highest cloud scores, and
pasted veils that are flagged. Only sheets of one's own imagery may be published.

The thresholds were set while looking at pasted veils on these same events: none is held out.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.contact_sheet import contact_sheet
from benchmarks.perceptual_change import markdown
from damage_ssl import workflow
from damage_ssl.events.event import Event
from damage_ssl.imagery.quality.measures import measure_quality, quality_reason
from damage_ssl.labels.label_csv import read_label_csv
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings, from_mapping
from damage_ssl.simulation.event import simulate
from damage_ssl.simulation.settings import SimulationSettings

REAL = (
    "santa-rosa-wildfire",
    "hurricane-harvey",
    "hurricane-florence",
    "mexico-earthquake",
    "joplin-tornado-mixed-crs",
)
SIMULATED = ("sim-fire", "sim-flood")
SETTINGS = PatchSettings()
WHITE_CLOUD, GREY_SMOKE, BROWN_SMOKE, BLUE_HAZE = (235, 238, 240), (160, 160, 158), (160, 147, 128), (150, 185, 200)
VEILS = {"white cloud": WHITE_CLOUD, "grey smoke": GREY_SMOKE, "brown smoke": BROWN_SMOKE, "blue haze": BLUE_HAZE}
OPACITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
HIDES = 0.65
"""A veil more opaque than this hides what a roof's damage is told by; set by eye."""
SENSOR_NOISE = 3.0
Pixels = NDArray[np.uint8]
Picture = NDArray[np.float32]
Places = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", nargs="+", default=[*REAL, *SIMULATED])
    parser.add_argument("--sample", type=int, default=60, help="pairs of each event that faults are pasted on")
    parser.add_argument("--buildings", type=int, default=150, help="of each simulated event")
    parser.add_argument("--align", choices=["building", "scene", "off"], default="off", help="register the event first")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes: list[dict[str, object]] = []
    rates: list[dict[str, object]] = []
    pasted: dict[str, dict[str, float]] = {}
    rightly: dict[str, dict[str, int | float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.events:
            rng = np.random.default_rng(given.seed)
            event, truth = make_event(name, Path(folder), given.buildings)
            workflow.cut_patches(event, from_mapping(PatchSettings, {"align": given.align}, "--align"))
            store = PatchStore.open(event.patches_path)
            pairs, index = store.load(), store.index()
            outcomes += outcome_rows(name, index, truth)
            some = pairs.take(np.sort(rng.choice(len(pairs), min(given.sample, len(pairs)), replace=False)))
            paste = Paste(some, rng)
            for what, post in paste.veils():
                pasted.setdefault(what, {})[name] = flagged_share(some, post)
            for what, post in [*paste.edges(), *paste.other_faults(), *paste.no_faults()]:
                pasted.setdefault(what, {})[name] = flagged_share(some, post)
            rightly[name] = rightly_flagged(some, paste)
            rates.append({"event": name, **speed(some)})
            if given.sheets:
                draw_sheets(pairs, index, some, paste, given.sheets, name, rng)
            print(f"{name}: done", flush=True)
    print("", markdown(outcomes), sep="\n")
    print("", markdown([{"flagged on the post date": what, **shares} for what, shares in pasted.items()]), sep="\n")
    print("", markdown([{"event": name, **counts} for name, counts in rightly.items()]), sep="\n")
    print("", markdown(rates), sep="\n")


def make_event(name: str, workspace: Path, buildings: int) -> tuple[Event, Path]:
    """A real event, or a simulated one drawn now, and its truth file (which may not be there)."""
    if name in REAL:
        source = shared_event(name)
        pre, post, footprints, truth = (
            source / "pre",
            source / "post",
            source / "footprints.geojson",
            source / "labels.csv",
        )
    else:
        drawn = SimulationSettings(buildings=buildings, hazard=name.removeprefix("sim-"), seed=3)
        made = simulate(workspace / "drawn" / name, drawn)
        pre, post, footprints, truth = (Path(path) for path in (made.pre, made.post, made.footprints, made.truth))
    return Event.create(workspace, name, pre=[str(pre)], post=[str(post)], footprints=footprints), truth


def shared_event(name: str) -> Path:
    return Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared")) / "data" / "events" / name


def outcome_rows(name: str, index: pd.DataFrame, truth: Path) -> Iterator[dict[str, object]]:
    """What became of the footprints of each grade; cloud scores of the assessed ones."""
    grades = (
        {row.building_id: str(row.value) for row in read_label_csv(truth, labeller="truth").rows}
        if truth.exists()
        else {}
    )
    cloud = np.fmax(index["pre_cloud"], index["post_cloud"])
    of = index["building_id"].map(lambda building: grades.get(building, "(no grade)"))
    for grade in sorted(set(of)):
        rows = of == grade
        reasons = Counter(index.loc[rows, "not_assessed_reason"].fillna("assessed").tolist())
        seen = cloud[rows & index["assessed"]].dropna()
        yield {
            "event": name,
            "grade": grade,
            "footprints": str(int(rows.sum())),
            "outcome": ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()),
            "cloud score, 99 %": float(seen.quantile(0.99)) if len(seen) else float("nan"),
            "highest": float(seen.max()) if len(seen) else float("nan"),
        }


class Paste:
    """Makes post pictures with faults from those of some pairs. The clouds' texture is drawn once."""

    def __init__(self, pairs: PairSet, rng: np.random.Generator) -> None:
        view = pairs.close
        self.post, self.inside, self.rng, self.gsd_m = view.post, view.footprint.astype(bool), rng, view.gsd_m
        shape = self.inside.shape
        self.thickness, self.light = rough(rng, shape, 3.0)[:, None], rough(rng, shape, 3.0)[:, None]
        self.ground = rough(rng, shape, 2.0)[:, None]
        self.across, self.down = np.meshgrid(np.arange(shape[2]), np.arange(shape[1]))
        self.angle = rng.uniform(0, 2 * np.pi, shape[:1])
        self.along = np.stack([np.cos(angle) * self.across + np.sin(angle) * self.down for angle in self.angle])

    def veiled(self, opacity: float, light: tuple[int, int, int]) -> Pixels:
        """A veil of a mean opacity that varies over the patch as smoke does, with a light that varies too."""
        share = np.clip((1 - opacity) * np.exp(0.25 * self.thickness), 0, 1)
        bright = np.array(light, np.float32)[None, :, None, None] + 6 * self.light
        return self.taken(share * self.post + (1 - share) * bright, SENSOR_NOISE if opacity else 0.0)

    def taken(self, scene: NDArray[np.floating], noise: float = 1.5) -> Pixels:
        """The 8-bit picture of a scene."""
        return np.clip(np.rint(scene + noise * self.rng.standard_normal(scene.shape)), 1, 255).astype(np.uint8)

    def plain(self, colour: tuple[int, int, int], texture: float) -> Picture:
        return np.asarray(np.array(colour, np.float32)[None, :, None, None] + texture * self.ground, np.float32)

    def hidden(self, share: float, beyond_m: float) -> Places:
        """One side of a straight edge in any direction, with a share of the building, or all and some metres more."""
        edge = [np.quantile(along[mask], share) for along, mask in zip(self.along, self.inside, strict=True)]
        return np.asarray(self.along <= np.array(edge)[:, None, None] + beyond_m / self.gsd_m)

    def round_cloud(self, radius_m: float) -> Places:
        """A disc whose rim touches one wall and that holds the middle of the building."""
        radius, places = radius_m / self.gsd_m, []
        for mask, along, angle in zip(self.inside, self.along, self.angle.tolist(), strict=True):
            x, y = self.across[mask].mean(), self.down[mask].mean()
            back = along[mask].max() + 1 - radius - (np.cos(angle) * x + np.sin(angle) * y)
            centre = x + back * np.cos(angle), y + back * np.sin(angle)
            places.append(np.hypot(self.across - centre[0], self.down - centre[1]) <= radius)
        return np.array(places)

    def veils(self) -> Iterator[tuple[str, Pixels]]:
        for name, light in VEILS.items():
            for opacity in OPACITIES[1:]:
                yield f"{name}, opacity {opacity:g}", self.veiled(opacity, light)
        for level in (95, 70, 45, 20):
            for opacity in (0.9, 1.0):
                yield f"dark smoke (grey level {level}), opacity {opacity:g}", self.veiled(opacity, (level,) * 3)

    def edges(self) -> Iterator[tuple[str, Pixels]]:
        for name in ("white cloud", "grey smoke"):
            opaque = self.veiled(1.0, VEILS[name])
            for share, beyond_m in ((0.5, 0.0), (0.8, 0.0), (0.9, 0.0), (1.0, 0.0), (1.0, 1.0), (1.0, 2.0), (1.0, 4.0)):
                where = f"{share:.0%} of the building" if share < 1 else f"the building and {beyond_m:g} m beyond"
                yield f"{name} with a sharp edge over {where}", self._where(self.hidden(share, beyond_m), opaque)
            for radius_m in (10, 20, 30):
                yield (
                    f"round {name} of {radius_m} m radius, rim at a wall",
                    self._where(self.round_cloud(radius_m), opaque),
                )

    def other_faults(self) -> Iterator[tuple[str, Pixels]]:
        for light in (0.3, 0.2, 0.1, 0.05):
            yield f"light x {light:g}", self.taken(light * self.post)
        for sigma_m in (1.0, 2.0, 3.0, 4.0):
            sigma = sigma_m / self.gsd_m
            blurred = ndimage.gaussian_filter(self.post.astype(np.float32), (0, 0, sigma, sigma))
            yield f"blur of {sigma_m:g} m", self.taken(blurred)
        yield "all beyond the sensor's range", np.full_like(self.post, 255)

    def no_faults(self) -> Iterator[tuple[str, Pixels]]:
        near = ndimage.maximum_filter(self.inside, size=(1, 5, 5))
        roofs = {"white roof": (232, 2.0), "clipped white roof": (300, 0.0), "pale slab": (190, 3.0)}
        for name, (level, texture) in roofs.items():
            roof = self.plain((level,) * 3, texture)
            yield f"(no fault) {name}", self.taken(np.where(near[:, None], roof, self.post))
            yield f"(no fault) {name}, to the wall", self.taken(np.where(self.inside[:, None], roof, self.post))
        reach = 2 * round(6.0 / self.gsd_m) + 1
        middle = [np.median(along[mask]) for along, mask in zip(self.along, self.inside, strict=True)]
        yard = ndimage.maximum_filter(self.inside, size=(1, reach, reach)) & ~self.inside
        yard &= self.along >= np.array(middle)[:, None, None]
        paved = np.where(yard[:, None], self.plain((190, 185, 178), 5), self.post)
        roofed = np.where(self.inside[:, None], self.plain((232,) * 3, 2), paved)
        yield "(no fault) white roof, pale yard on one side", self.taken(roofed)
        razed = np.where((yard | self.inside)[:, None], self.plain((190, 185, 178), 8), self.post)
        yield "(no fault) razed, bare pale ground on one side", self.taken(razed)
        for name, colour, texture in (
            ("muddy water", (125, 108, 80), 2),
            ("grey water", (95, 96, 88), 2),
            ("dark water", (45, 52, 48), 2),
            ("burnt ground", (50, 47, 45), 8),
            ("bare soil", (190, 165, 130), 8),
            ("pale gravel", (170, 167, 160), 8),
        ):
            yield f"(no fault) {name} over everything", self.taken(self.plain(colour, texture))
        yield "(no fault) grey water up to the walls", self._where(~near, self.taken(self.plain((95, 96, 88), 2)))

    def _where(self, places: Places, pasted: Pixels) -> Pixels:
        return np.where(places[:, None], pasted, self.post)


def rough(rng: np.random.Generator, shape: tuple[int, ...], power: float) -> Picture:
    """Noise whose power falls with frequency (clouds: about the cube), [N, H, W], mean 0, standard deviation 1."""
    count, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((count, 2 * height, 2 * width))) * frequency ** (-power / 2)
    noise = np.fft.irfft2(spectrum)[:, :height, :width]
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    return np.asarray(noise / noise.std(axis=(1, 2), keepdims=True), dtype=np.float32)


def flagged(pairs: PairSet, post: Pixels) -> Places:
    """Which pairs are flagged, for any reason, with this post picture."""
    view = pairs.close
    valid = view.valid.astype(bool)
    values = measure_quality(view.pre, valid, post, valid, view.footprint.astype(bool), view.gsd_m)
    return np.array([reason is not None for reason in quality_reason(values, SETTINGS)])


def flagged_share(pairs: PairSet, post: Pixels) -> float:
    return float(flagged(pairs, post).mean())


def rightly_flagged(pairs: PairSet, paste: Paste) -> dict[str, int | float]:
    """Of pairs under veils of all kinds, opacity 0 to 1 in equal parts: how many flagged ones are hidden indeed."""
    counts = {"flagged": 0, "rightly": 0, "hidden": 0}
    for light in VEILS.values():
        for opacity in np.arange(11) / 10:
            found = int(flagged(pairs, paste.veiled(float(opacity), light)).sum())
            counts["flagged"] += found
            counts["rightly"] += found if opacity > HIDES else 0
            counts["hidden"] += len(pairs) if opacity > HIDES else 0
    return {**counts, "rightly, share": counts["rightly"] / max(counts["flagged"], 1)}


def speed(pairs: PairSet) -> dict[str, float]:
    """Pairs a second of this process's time (set OMP_NUM_THREADS=1), all together and one building at a time."""
    rates: dict[str, float] = {}
    for name, step in (("together", len(pairs)), ("one by one", 1)):
        spent = []
        for _ in range(3):
            start = time.process_time()
            for first in range(0, len(pairs), step):
                part = pairs if step > 1 else pairs.take(np.array([first]))
                flagged(part, part.close.post)
            spent.append(time.process_time() - start)
        rates[name] = len(pairs) / min(spent)
    return {
        "pairs / s": round(rates["together"]),
        "one by one": round(rates["one by one"]),
        "times": rates["together"] / rates["one by one"],
    }


def draw_sheets(
    pairs: PairSet, index: pd.DataFrame, some: PairSet, paste: Paste, folder: Path, event: str, rng: np.random.Generator
) -> None:
    """Unflagged pairs at random, those with the highest cloud scores, and pasted veils that are flagged."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = index.loc[index["assessed"], ["pre_cloud", "post_cloud"]].max(axis="columns").to_numpy()
    sheets = {
        "random": pairs.take(rng.choice(len(pairs), min(100, len(pairs)), replace=False)),
        "highest-cloud": pairs.take(np.argsort(-np.nan_to_num(scores))[:20]),
    }
    for name, post in (
        ("pasted-0.7-flagged", paste.veiled(0.7, GREY_SMOKE)),
        ("pasted-edge-flagged", dict(paste.edges())["white cloud with a sharp edge over the building and 0 m beyond"]),
    ):
        rows = np.flatnonzero(flagged(some, post))[:20]
        shown = some.take(rows)
        shown.close.post[:] = post[rows]
        sheets[name] = shown
    for name, shown in sheets.items():
        if len(shown):
            contact_sheet(shown, zoom=2 if len(shown) <= 20 else 1).save(folder / f"{event}-{name}.png")


if __name__ == "__main__":
    main()
