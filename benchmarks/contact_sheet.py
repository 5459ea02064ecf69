"""Draw random assessed pairs, pre | post with the footprint's outline, onto one PNG to look at.

    python -m benchmarks.contact_sheet WORKSPACE EVENT OUT.png [--pairs 40] [--seed 0] [--context]

The patches of the event must have been cut (`damage-ssl patches`).
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from damage_ssl.events.event import Event
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import PatchStore

OUTLINE = (255, 221, 0)
COLUMNS = 5
CAPTION_PX = 14
GAP_PX = 4


def outline(mask: NDArray[np.uint8], zoom: int) -> NDArray[np.bool_]:
    """The rim of a mask, one pixel wide after zooming."""
    big = np.kron(mask, np.ones((zoom, zoom), dtype=np.uint8)).astype(bool)
    return big & ~ndimage.binary_erosion(big)


def tile(view: PairViews, row: int, zoom: int) -> NDArray[np.uint8]:
    """Pre and post of one pair side by side."""
    sides = []
    for pixels in (view.pre[row], view.post[row]):
        picture = np.kron(np.moveaxis(pixels, 0, -1), np.ones((zoom, zoom, 1), dtype=np.uint8))
        picture[outline(view.footprint[row], zoom)] = OUTLINE
        sides.append(picture)
    return np.concatenate(sides, axis=1)


def contact_sheet(pairs: PairSet, *, context: bool = False, zoom: int = 3) -> Image.Image:
    """All pairs of a set on one sheet."""
    view = pairs.context if context and pairs.context is not None else pairs.close
    height, width = view.pre.shape[2] * zoom + CAPTION_PX + GAP_PX, view.pre.shape[3] * 2 * zoom + GAP_PX
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(pairs) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, building in enumerate(pairs.building_id.tolist()):
        left, top = row % COLUMNS * width, row // COLUMNS * height
        draw.text((left, top), f"{building[:28]}  {view.gsd_m:g} m", fill="black")
        sheet.paste(Image.fromarray(tile(view, row, zoom)), (left, top + CAPTION_PX))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("event")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--context", action="store_true", help="the wider view")
    args = parser.parse_args()
    store = PatchStore.open(Event.open(args.workspace, args.event).patches_path)
    index = store.index()
    ids = index.loc[index["assessed"], "building_id"].to_numpy(dtype=str)
    chosen = np.random.default_rng(args.seed).choice(ids, size=min(args.pairs, len(ids)), replace=False)
    contact_sheet(store.load(chosen), context=args.context).save(args.out)
    print(f"{args.out}: {len(chosen)} of {len(ids)} assessed pairs")


if __name__ == "__main__":
    main()
