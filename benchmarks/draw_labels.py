"""Draw labels from known grades: `python -m benchmarks.draw_labels TRUTH.csv LABELS.csv --per-class 20 --seed 0`.

So many buildings of each class of `binary-major` (damaged = major-damage or destroyed), at random over the event.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from damage_ssl.damage_scale import scheme_named
from damage_ssl.labels.label_csv import read_label_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    scheme, rng = scheme_named("binary-major"), np.random.default_rng(arguments.seed)
    rows = read_label_csv(arguments.truth, labeller="truth").rows
    with arguments.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["building_id", "grade"])
        for index in range(len(scheme)):
            members = [row for row in rows if scheme.index_of(row.value) == index]
            for place in rng.permutation(len(members))[: arguments.per_class]:
                writer.writerow([members[place].building_id, members[place].value.value])


if __name__ == "__main__":
    main()
