"""Whether what is added most often is one file's change: each is done in a copy of the repository and then used.

    python -m benchmarks.one_file

A new algorithm, footprint format, export format, augmentation and reason for not assessing: the edit is made, `git
status` counts the files that it touched, and a program of its own process uses what is new by its name.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Addition:
    """One thing that somebody adds: the edits by file (old text → new text) and a program that uses it."""

    what: str
    edits: dict[str, Callable[[str], str]]
    use: str


def added(text: str) -> Callable[[str], str]:
    """A file of this text, that was not there."""
    return lambda _: text


def after(line: str, text: str) -> Callable[[str], str]:
    """`text` after the first occurrence of `line`."""

    def edit(before: str) -> str:
        if line not in before:
            raise SystemExit(f"benchmarks/one_file.py: the place '{line}' is not there any more")
        return before.replace(line, line + text, 1)

    return edit


ADDITIONS = (
    Addition(
        "SSL algorithm",
        {
            "damage_ssl/learning/algorithms/entropy.py": added(
                '''"""Entropy minimisation (Grandvalet & Bengio 2005): unlabelled pairs are to be decided on."""

import torch

from damage_ssl.learning.algorithms.base import AlgorithmEntry, full_precision
from damage_ssl.learning.algorithms.pseudo_label import PseudoLabel, PseudoLabelSettings, supervised_loss
from damage_ssl.learning.algorithms.base import LossTerms


class EntropyMinimisation(PseudoLabel):
    name = "entropy"

    def loss(self, student, ema, batch, *, progress, generator):
        x, (u,) = batch.labelled("weak"), batch.unlabelled
        logits = full_precision(student(torch.cat([x, u])))
        supervised = supervised_loss(logits[: len(x)], batch.target)
        log_p = logits[len(x) :].log_softmax(dim=1)
        unlabelled = -(log_p.exp() * log_p).sum(dim=1).mean()
        kept = torch.ones((), device=logits.device)
        return LossTerms(
            loss=supervised + 0.1 * unlabelled,
            supervised=supervised.detach(),
            unlabelled=unlabelled.detach(),
            mask_rate=kept,
        )


ALGORITHMS = {"entropy": AlgorithmEntry(PseudoLabelSettings, EntropyMinimisation)}
'''
            )
        },
        """
import numpy as np, damage_ssl as ds
from tests.learning.trainer.drawn_pairs import draw_pairs
pairs, classes = draw_pairs(24)
names = ["no-damage", "destroyed"]
labels = {str(b): names[int(c) % 2] for b, c in list(zip(pairs.building_id, classes))[:12]}
model = ds.train(pairs, labels, settings=ds.TrainSettings(algorithm="entropy", network="small-cnn", steps=2))
assert model.predict(pairs).shape == (24, 2)
""",
    ),
    Addition(
        "footprint format",
        {
            "damage_ssl/footprints/formats/boxes.py": added(
                '''"""Boxes, one a line: west south east north."""

import numpy as np
import shapely

from damage_ssl.footprints.formats import FootprintFormat


def read_boxes(path, into):
    into.format = "boxes"
    sides = np.loadtxt(path, ndmin=2)
    into.saw(len(sides))
    into.add(np.asarray(shapely.box(*sides.T), dtype=object), {}, np.arange(1, len(sides) + 1))


FORMATS = {"boxes": FootprintFormat(read=read_boxes, endings=(".boxes",))}
'''
            )
        },
        """
from pathlib import Path
from damage_ssl.footprints.reader import read_footprints
Path("two.boxes").write_text("10 50 10.0002 50.0002\\n10.001 50 10.0012 50.0002\\n")
assert len(read_footprints(Path("two.boxes")).table) == 2
""",
    ),
    Addition(
        "export format",
        {
            "damage_ssl/products/formats/fgb.py": added(
                '''"""FlatGeobuf."""


def write_fgb(product, path, *, metadata=None):
    product.to_file(path, driver="FlatGeobuf")


FORMATS = {".fgb": write_fgb}
'''
            )
        },
        """
import geopandas as gpd, shapely
from pathlib import Path
from damage_ssl.products.formats import write_product
write_product(gpd.GeoDataFrame({"building_id": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326), Path("m.fgb"))
assert gpd.read_file("m.fgb")["building_id"].tolist() == ["a"]
""",
    ),
    Addition(
        "augmentation",
        {
            "damage_ssl/learning/augmentation/photometry.py": after(
                '        "identity": identity,\n',
                '        "dusk": lambda x, u, colour, generator: x * (1 - 0.3 * u.abs()),\n',
            )
        },
        """
import damage_ssl as ds
from damage_ssl.learning.augmentation.operations import operation_named
assert "dusk" in ds.AUGMENTATIONS and operation_named("dusk@building")
ds.TrainSettings(options={"operations": "dusk blur"})
""",
    ),
    Addition(
        "reason for not assessing",
        {
            "damage_ssl/damage_scale.py": after(
                '    BLUR = "blur", "too blurred"\n', '    SNOW = "snow", "covered by snow"\n'
            )
        },
        """
from damage_ssl.damage_scale import Reason, reason_words
assert reason_words("snow") == "covered by snow"
""",
    ),
)


def main() -> int:
    """Do each in a clone; 0 where every one is one file and works."""
    failed = 0
    for addition in ADDITIONS:
        with tempfile.TemporaryDirectory(prefix="one-file-") as folder:
            clone = Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", "--local", str(REPOSITORY), str(clone)], check=True)
            for name, edit in addition.edits.items():
                path = clone / name
                path.write_text(edit(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
            touched = subprocess.run(
                ["git", "-C", str(clone), "status", "--porcelain"], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            used = subprocess.run(
                [sys.executable, "-c", addition.use],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(clone)},
                capture_output=True,
                text=True,
                check=False,
            )
        works = used.returncode == 0
        failed += not works or len(touched) != 1
        print(f"{addition.what}: {len(touched)} file ({touched[0][3:]}), {'works' if works else used.stderr[-600:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
