"""The public API: cheap to import, typed, and each of its names with an example that runs."""

import ast
import contextlib
import doctest
import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import damage_ssl
from damage_ssl import ALGORITHMS, AUGMENTATIONS, Event, SimulationSettings, TrainSettings, simulate
from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.errors import InputError

QUICK = TrainSettings(
    algorithm="fixmatch", network="small-cnn", steps=2, input_px=32, batch_labelled=4, unlabelled_ratio=2
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples speak of: `workspace/town`, sixty simulated buildings, forty of them labelled, and its run."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("api")
    with contextlib.chdir(place):
        town = simulate(Path("simulated"), SimulationSettings(buildings=60, seed=0))
        event = Event.create("workspace", "town", pre=[town.pre], post=[town.post], footprints=town.footprints)
        pairs = damage_ssl.cut_patches(event).load()
        head, *rows = town.truth.read_text().splitlines()
        labels = dict(row.split(",") for row in rows[:40])
        Path("forty.csv").write_text("\n".join([head, *rows[:40]]))
        damage_ssl.import_labels(event, "forty.csv", labeller="truth")
        run = damage_ssl.train(event, settings=QUICK)
        damage_ssl.predict(event, run)
    return {"place": place, "town": town, "event": event, "pairs": pairs, "labels": labels, "run": run}


@pytest.fixture
def own_names() -> Iterator[None]:
    """Algorithms and operations that a test enters are forgotten afterwards."""
    known = {id(table): set(table) for table in (ALGORITHMS, AUGMENTATIONS)}
    yield
    for table in (ALGORITHMS, AUGMENTATIONS):
        for name in set(table) - known[id(table)]:
            del table[name]


def public() -> dict[str, Any]:
    return {name: getattr(damage_ssl, name) for name in damage_ssl.__all__}


@pytest.mark.parametrize("name", damage_ssl.__all__)
def test_the_example_of_each_public_name_runs(name: str, example: Mapping[str, Any], own_names: None) -> None:
    documented = inspect.getdoc(getattr(damage_ssl, name)) or ""
    names = public() | dict(example) | {"np": np, "Path": Path}
    test = doctest.DocTestParser().get_doctest(documented, names, name, None, 0)
    assert test.examples, f"{name}: its docstring has no example"
    said: list[str] = []
    with contextlib.chdir(example["place"]):
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


def test_importing_the_package_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; began = time.process_time(); import damage_ssl; print(time.process_time() - began);"
        "print(sorted({'torch', 'numpy', 'pandas', 'rasterio'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    seconds, heavy = said.split("\n")[:2]
    assert float(seconds) < 0.3 and heavy == "[]"


def test_type_checkers_see_the_same_names_in_the_same_modules_as_the_program() -> None:
    tree = ast.parse(Path(damage_ssl.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    typed = {name.asname: f"{node.module}" for node in imports for name in node.names if name.asname == name.name}
    assert typed == {
        name: f"damage_ssl.{home}" for name, home in damage_ssl._HOMES.items() if name not in damage_ssl._SHORT
    }
    (short,) = [node for node in block.body if isinstance(node, ast.Assign)]  # an import under another name is private
    names, values = ast.unparse(short).split(" = ")
    assert (names.strip("()"), values.strip("()")) == (
        ", ".join(damage_ssl._SHORT),
        ", ".join(damage_ssl._SHORT.values()),
    )
    assert Path(damage_ssl.__file__).with_name("py.typed").exists()
    assert set(damage_ssl.__all__) <= set(dir(damage_ssl))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        damage_ssl.trian  # noqa: B018


def test_the_names_of_the_algorithms_need_no_look_at_their_modules_until_they_are_asked_for() -> None:
    code = "import sys; from damage_ssl import ALGORITHMS; a = 'torch' in sys.modules; len(ALGORITHMS); print(a)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "False"


def test_training_in_memory_learns_from_labels_alone_and_leaves_nothing(
    example: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []
    labels = {**example["labels"], "sim-000050": "unclear"}
    model = damage_ssl.train(example["pairs"], labels, settings=QUICK, progress=lambda each: seen.append(each.step))
    again = damage_ssl.train(example["pairs"], example["labels"], settings=QUICK)
    p = model.predict(example["pairs"])
    np.testing.assert_array_equal(p, again.predict(example["pairs"]))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert seen == [2] and not list(tmp_path.iterdir())


def test_a_label_that_is_none_is_refused_with_its_building(example: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match="label of 'sim-000001': grade 'detroyed' is not one of"):
        damage_ssl.train(example["pairs"], {"sim-000001": "detroyed"}, settings=QUICK)


def test_an_own_operation_is_drawn_by_its_name(example: Mapping[str, Any], own_names: None) -> None:
    drawn: list[int] = []

    def dusk(x: torch.Tensor, u: torch.Tensor, colour: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn.append(len(x))
        return x * (1 - 0.3 * u.abs())

    AUGMENTATIONS["dusk"] = dusk
    settings = TrainSettings(
        algorithm="supervised-strong", network="small-cnn", steps=1, input_px=32, options={"operations": "dusk"}
    )
    damage_ssl.train(example["pairs"], example["labels"], settings=settings)
    assert drawn


def test_evaluating_arrays_gives_intervals_where_blocks_are_known(example: Mapping[str, Any]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(["no-damage", "destroyed"], 40)
    p = np.clip((truth == "destroyed") + rng.normal(0, 0.4, 40), 0.01, 0.99)
    both = np.stack([1 - p, p], axis=1)
    alone = damage_ssl.evaluate(both, list(truth))
    blocks = damage_ssl.evaluate(both, list(truth), block=np.repeat(np.arange(8), 5).astype(str))
    assert alone.auroc.value == blocks.auroc.value
    assert alone.auroc.low is None and blocks.auroc.low is not None


def test_a_dataset_reads_a_store_and_pairs_in_memory_alike(example: Mapping[str, Any]) -> None:
    store = damage_ssl.cut_patches(example["event"])
    from_disk = damage_ssl.PairDataset(store, example["labels"])
    in_memory = damage_ssl.PairDataset(store.load(), example["labels"])
    assert from_disk.building_id.tolist() == in_memory.building_id.tolist()
    for one, other in zip(from_disk.__getitems__([7, 2, 50]), in_memory.__getitems__([7, 2, 50]), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    scheme = scheme_named("binary-major")
    for row, building in enumerate(from_disk.building_id.tolist()):
        value = example["labels"].get(building)
        expected = -1 if value is None else scheme.index_of(LabelValue(value))
        assert int(from_disk[row][1]) == expected
