"""Damaged files given to a reader, over and over; by hand: `python -m tests.fuzzing.attack ROUNDS [NAME...]`."""

import argparse
import hashlib
import json
import resource
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from damage_ssl.errors import DamageSSLError
from tests.fuzzing.mutations import mutated
from tests.fuzzing.readers import READERS, Reader

LONGEST_S = 5.0
MOST_BYTES = 500_000_000
"""Of memory that one file may add to the most that the process ever had."""


@dataclass(frozen=True)
class Fault:
    """What a reader should not have done: raised something else than our own error, named no file, took too long."""

    what: str
    seconds: float = 0.0


def verdict(reader: Reader, path: Path) -> Fault | str:
    """`read` or `refused`, or what was wrong with how the reader took it. Processor time counts, not the clock's."""
    began, before = time.process_time(), _peak_bytes()
    said: Fault | str = "read"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(path)
        except DamageSSLError as error:
            said = "refused"
            if not any(part.name in str(error) for part in (path, path.parent, path.parents[1])):
                said = Fault(f"the message names no file: {error}")
        except Exception as error:
            said = Fault(f"{type(error).__name__}: {error}"[:300])
    seconds = time.process_time() - began
    if seconds > LONGEST_S:
        said = Fault(f"took {seconds:.1f} s of processor time", seconds)
    elif _peak_bytes() - before > MOST_BYTES:
        said = Fault(f"took {(_peak_bytes() - before) / 1e6:.0f} MB")
    return said


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def attack(reader: Reader, rounds: int, seed: int, folder: Path) -> Iterator[tuple[bytes, Fault | str]]:
    """Damaged files and what became of each; the whole one first, which must be read."""
    path = reader.write(folder)
    whole = path.read_bytes()
    found = verdict(reader, path)
    assert found == "read", f"the whole file is not read: {found}"
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        content = mutated(whole, rng)
        path.write_bytes(content)
        yield content, verdict(reader, path)


def slug(name: str) -> str:
    """A reader's name as that of a folder."""
    return "-".join("".join(sign if sign.isalnum() else " " for sign in name.lower()).split())


def main() -> None:
    """Attack readers and print a line of JSON for each; inputs that a reader took wrongly are kept in --keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    for name in given.names or READERS:
        counts: Counter[str] = Counter()
        faults: dict[str, int] = Counter()
        began = time.process_time()
        with TemporaryDirectory() as temporary:
            for content, found in attack(READERS[name], given.rounds, given.seed, Path(temporary)):
                counts["fault" if isinstance(found, Fault) else found] += 1
                if isinstance(found, Fault):
                    kind = found.what.replace(temporary, "…")[:120]
                    faults[kind] += 1
                    if given.keep and faults[kind] == 1:
                        kept = given.keep / slug(name) / hashlib.sha256(content).hexdigest()[:12]
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_bytes(content)
        spent = round(time.process_time() - began, 1)
        print(json.dumps({"reader": name, **counts, "cpu_s": spent, "faults": faults}), flush=True)


if __name__ == "__main__":
    main()
