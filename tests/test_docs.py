"""README and docs: what they link to is there, what they quote exists, and the site builds without a warning."""

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks/results").glob("*.md")])
PROSE = [page for page in PAGES if page.name != "CHANGELOG.md" and "benchmarks" not in page.parts]
README_LINES = 170

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_OPEN_END = re.compile(r"…|\.\.\.")


def load_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_hooks"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return load_hooks()


@pytest.fixture(scope="module")
def reference(hooks: ModuleType) -> Mapping[str, str]:
    """The generated pages, as the site shows them."""
    folder = ROOT / "docs/reference"
    return {name: hooks.filled((folder / f"{name}.md").read_text(encoding="utf-8")) for name in ("cli", "settings")}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    anchors = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path, hooks: ModuleType) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists()
        if found and anchor:
            found = anchor in anchors_of(hooks.filled(target.read_text(encoding="utf-8")))
        broken += [] if found else [link]
    assert not broken


def test_readme_fits_on_three_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def test_reference_holds_every_command_and_option(hooks: ModuleType, reference: Mapping[str, str]) -> None:
    missing = []
    for path, command in hooks.commands():
        section = re.search(rf"^## {' '.join(path)}$(.*?)(?=^## |\Z)", reference["cli"], re.DOTALL | re.MULTILINE)
        text = "" if section is None else section[1]
        flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]
        missing += [(path, flag) for flag in flags if flag not in text]
        if section is None:
            missing.append((path, ""))
    assert not missing


def test_reference_holds_every_setting_with_its_default(hooks: ModuleType, reference: Mapping[str, str]) -> None:
    lines = set(reference["settings"].splitlines())
    classes = hooks.settings_classes()
    assert {"PatchSettings", "TrainSettings", "SplitSettings", "SourceSettings"} <= set(classes)
    for name, cls in classes.items():
        for key in hooks.keys_of(cls):
            row = f"| `{key.name}` |"
            assert any(line.startswith(row) for line in lines), f"{name}.{key.name}"


def test_the_generator_reads_pydantic_models_too(hooks: ModuleType) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):
        depth: int = pydantic.Field(2, ge=1, le=9, description="How deep.")

    class Outer(pydantic.BaseModel):
        rate: float
        inner: Inner = Inner()

    rate, inner = hooks.keys_of(Outer)
    (depth,) = hooks.keys_of(Inner)
    assert (rate.name, rate.default) == ("rate", "must be given")
    assert (inner.name, inner.default) == ("inner", "Inner")
    assert (depth.default, depth.meaning) == ("2", "How deep.; ≥ 1; ≤ 9")
    assert hooks._tables("train", Outer, set())[0] == "## [train]"
    assert "## [train.inner]" in hooks._tables("train", Outer, set())


def test_a_word_in_angle_brackets_is_not_lost_as_html(hooks: ModuleType, reference: Mapping[str, str]) -> None:
    assert hooks._cell("timm:<model> or a|b") == "timm:&lt;model> or a\\|b"
    assert "timm:&lt;model>" in reference["cli"]


# --- commands that are quoted ----------------------------------------------------------------------------------------


def quoted_lines(text: str) -> Iterator[str]:
    """The lines of code blocks, those that end in a backslash joined with the next."""
    blocks = [block.split("\n", 1)[1].rsplit("\n", 1)[0] for block in _FENCE.findall(text)]
    indented = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    yield from re.sub(r" *\\\n *", " ", "\n".join([*blocks, *indented])).splitlines()


def quoted_commands(text: str) -> Iterator[tuple[str, bool]]:
    """Each `damage-ssl …` that is quoted, and whether it is a whole line of a code block."""
    for line in quoted_lines(text):
        if line.startswith("damage-ssl "):
            yield line.partition("  # ")[0].partition(" && ")[0].strip(), True
    for code in _CODE.findall(_FENCE.sub("", "\n".join(line for line in text.splitlines() if line[:4] != "    "))):
        if code.startswith("damage-ssl "):
            yield code.strip(), False


def problem_with(command: str, tree: Any, *, whole: bool) -> str | None:
    """Why the command line would refuse these words; None where it would not."""
    import click

    spread = spread_path_lists()
    words = shlex.split(command, comments=True)[1:]
    node, path = tree, []
    while hasattr(node, "commands"):
        if not words or words[0] in {"COMMAND", "…"}:
            return None
        if words[0].startswith("-"):
            break
        if words[0] not in node.commands:
            return f"there is no command '{words[0]}'"
        path.append(words[0])
        node = node.commands[words.pop(0)]
    known = {flag for each in node.params for flag in (*each.opts, *each.secondary_opts)} | {"--help"}
    flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    unknown = [flag for flag in flags if flag not in known]
    if unknown:
        return f"'{' '.join(path)}' has no option {unknown[0]}"
    if whole and "--help" not in flags and not _OPEN_END.search(command):
        try:
            node.make_context(" ".join(path), spread(words))
        except Exception as error:  # click's own, or typer's copy of it
            if not isinstance(error, click.exceptions.Exit):
                return f"{type(error).__name__}: {error}"
    return None


def spread_path_lists() -> Any:
    for module in ("damage_ssl.cli.root", "damage_ssl.cli.options"):
        if importlib.util.find_spec(module) is not None:
            found = getattr(importlib.import_module(module), "spread_path_lists", None)
            if found is not None:
                return found
    raise LookupError("spread_path_lists is neither in cli/root.py nor in cli/options.py")


def test_problems_with_commands_are_seen(hooks: ModuleType) -> None:
    tree = hooks.command_tree()
    assert problem_with("damage-ssl train myevent --minutes 3", tree, whole=True) is None
    assert "no option --hours" in str(problem_with("damage-ssl train myevent --hours 3", tree, whole=False))
    assert "no command 'teach'" in str(problem_with("damage-ssl teach myevent", tree, whole=False))
    assert problem_with("damage-ssl train", tree, whole=False) is None
    assert problem_with("damage-ssl train", tree, whole=True) is not None
    assert problem_with("damage-ssl train myevent --minutes soon", tree, whole=True) is not None


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_quoted_command_is_one_that_the_command_line_takes(page: Path, hooks: ModuleType) -> None:
    tree = hooks.command_tree()
    quoted = quoted_commands(page.read_text(encoding="utf-8"))
    problems = {command: problem_with(command, tree, whole=whole) for command, whole in quoted}
    assert {command: problem for command, problem in problems.items() if problem} == {}


def test_every_quoted_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    quoted = {
        (name_of(page), target)
        for page in PROSE
        for target in re.findall(r"(?:^ {4}|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {each for each in quoted if each[1] not in targets} == set()


# --- places and settings that are named ------------------------------------------------------------------------------

moved = pytest.mark.skipif(
    not (ROOT / "damage_ssl/runs").is_dir(), reason="the docs name the rooms of damage_ssl, which are not there yet"
)


@moved
@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_file_of_the_code_that_is_named_is_there(page: Path) -> None:
    code = _CODE.findall(page.read_text(encoding="utf-8"))
    named = {each for each in code if re.fullmatch(r"(damage_ssl|app|tests|docs|benchmarks|notebooks)/[\w./-]*", each)}
    assert {each for each in named if not (ROOT / each).exists()} == set()


@moved
@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_module_that_is_run_by_name_is_there(page: Path) -> None:
    modules = re.findall(r"(?:python|torchrun)\b[^\n`]* -m ((?:damage_ssl|app|benchmarks)[\w.]*)", page.read_text())
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


@moved
@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_quoted_python_names_what_the_package_has(page: Path) -> None:
    imports = re.findall(r"^ {4}from (damage_ssl[\w.]*) import ([\w, ]+)$", page.read_text(), re.MULTILINE)
    for module, names in imports:
        found = importlib.import_module(module)
        for name in names.replace(" ", "").split(","):
            assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{module}.{name}"


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_quoted_settings_line_names_a_setting(page: Path, hooks: ModuleType) -> None:
    known = {key.name for cls in hooks.settings_classes().values() for key in hooks.keys_of(cls)}
    tables = set(hooks.TABLES)
    lines = list(quoted_lines(page.read_text(encoding="utf-8")))
    starts = [number for number, line in enumerate(lines) if re.fullmatch(r"\[(\w+)(\.\w+)*\]", line)]
    unknown = []
    for start in starts:
        if lines[start][1:-1].split(".")[0] not in tables:
            continue
        for line in lines[start + 1 :]:
            key = re.match(r"(\w+) = ", line)
            if key is None:
                break
            unknown += [key[1]] if key[1] not in known else []
    assert unknown == []


# --- the site --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python"):
        if importlib.util.find_spec(package.split(".")[0]) is None:
            pytest.skip(f"{package} is not installed: pip install 'damage-ssl[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_site_builds_strictly_with_the_reference_in_it(site: Path) -> None:
    assert "--strict" not in (site / "index.html").read_text(encoding="utf-8")
    assert "--retry-failed" in (site / "reference/cli.html").read_text(encoding="utf-8")
    assert "align_tolerance_m" in (site / "reference/settings.html").read_text(encoding="utf-8")
    assert (site / "measured/learning.html").is_file()


def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loading = re.compile(
        r"<(?:script|img|iframe)\b[^>]*\bsrc=.https?:|<link\b[^>]*\bhref=.https?:[^>]*\.(?:css|js|woff)"
    )
    assert [page.name for page in site.rglob("*.html") if loading.search(page.read_text(encoding="utf-8"))] == []
