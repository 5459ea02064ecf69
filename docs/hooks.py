"""MkDocs hooks: the reference is written from the code at each build, and pages beside `docs/` join the site.

A page that holds `<!-- generated: NAME -->` gets the text of `GENERATED[NAME]` in that place. Looked at and not used:
mkdocs-click and `typer utils docs`, which both lose `<model>` in a help text as if it were HTML, and know no settings;
settings-doc and autodoc_pydantic, which know pydantic only. Signatures and docstrings are mkdocstrings' work.
"""

import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "damage_ssl"

BESIDE: Mapping[str, str] = {
    "benchmarks/results/main_job.md": "measured/main_job.md",
    "benchmarks/results/imagery.md": "measured/imagery.md",
    "benchmarks/results/learning.md": "measured/learning.md",
    "benchmarks/results/app.md": "measured/app.md",
    "benchmarks/results/reliability.md": "measured/reliability.md",
    "benchmarks/results/trust/calibration.md": "measured/calibration.md",
    "data_catalog/README.md": "catalogue.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY.md": "third_party.md",
    "LICENSE": "licence.txt",
}
"""Files of the repository that the site holds too → their place in it."""

TABLES: Mapping[str, str] = {
    "patches": "PatchSettings",
    "train": "TrainSettings",
    "split": "SplitSettings",
    "sources": "SourceSettings",
}
"""The tables of a settings file → their classes."""

_INNER = {"AllSettings", "TrainingOptions"}
"""Classes that put others together."""

_SETTINGS_CLASS = re.compile(r"^class ((?:[A-Z]\w*(?:Settings|Options|Training))|Resources)\b", re.MULTILINE)
_MARKER = re.compile(r"<!-- generated: (\w+) -->")
_LINK = re.compile(r"\]\(((?:\.\./)*)([^)#:\s]+)(#[^)\s]*)?\)")


# --- hooks -----------------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Let the pages and pictures beside `docs/` into the site."""
    from mkdocs.structure.files import File

    for source, place in BESIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for picture in sorted((ROOT / "benchmarks/results").glob("*.[pj][np]g")):
        files.append(File.generated(config, f"measured/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill in what is generated, and point links to files beside `docs/` to their place in the site."""
    uri = page.file.src_uri
    source = {place: source for source, place in BESIDE.items()}.get(uri, f"docs/{uri}")
    return relinked(filled(markdown), source, uri)


def filled(markdown: str) -> str:
    """The page with each marker replaced by what it stands for."""
    return _MARKER.sub(lambda found: GENERATED[found[1]](), markdown)


def relinked(markdown: str, source: str, uri: str) -> str:
    """Links that hold in the repository, from the file `source`, as they hold in the site, from the page `uri`."""

    def moved(found: re.Match[str]) -> str:
        ups, path, anchor = found[1], found[2], found[3] or ""
        target = ((ROOT / source).parent / (ups + path)).resolve()
        if not target.is_relative_to(ROOT):
            return found[0]
        inside = target.relative_to(ROOT).as_posix()
        place = BESIDE.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)
        if place is None or (not source.startswith("docs/") and source not in BESIDE):
            return found[0]
        depth = uri.count("/")
        return f"]({'../' * depth}{place}{anchor})"

    return _LINK.sub(moved, markdown)


# --- the command line ------------------------------------------------------------------------------------------------


def command_tree() -> Any:
    """The command `damage-ssl` as a click group."""
    import typer

    for module in (f"{PACKAGE}.cli.root", f"{PACKAGE}.cli.commands"):
        try:
            return typer.main.get_command(importlib.import_module(module).cli)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise LookupError("the command damage-ssl is neither in cli/root.py nor in cli/commands.py")


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be run, with its words after `damage-ssl`, in the order of `--help`."""
    command = command_tree() if command is None else command
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        if not below.hidden:
            yield from commands(below, (*path, name))


def cli_page() -> str:
    """Every command with its arguments and options."""
    lines: list[str] = []
    for path, command in commands():
        context = command.context_class(command, info_name=" ".join(("damage-ssl", *path)))
        records = [
            (parameter.param_type_name, record)
            for parameter in command.get_params(context)
            if (record := parameter.get_help_record(context)) is not None and "--help" not in record[0]
        ]
        usage = " ".join(("damage-ssl", *path, *command.collect_usage_pieces(context)))
        lines += [f"## {' '.join(path)}", "", _plain(command.help or ""), "", f"    {usage}", ""]
        for kind, title in (("argument", "Argument"), ("option", "Option")):
            rows = [f"| `{names}` | {_cell(text)} |" for which, (names, text) in records if which == kind]
            lines += [f"| {title} | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


# --- settings --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    type: Any
    default: str
    meaning: str


def settings_classes() -> dict[str, type]:
    """Every settings class of the library that is not merely the base of others, in the order of the files."""
    found: dict[str, type] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        names = _SETTINGS_CLASS.findall(path.read_text(encoding="utf-8"))
        names = [name for name in names if name not in _INNER]
        if names:
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            found |= {name: getattr(module, name) for name in names if is_settings(getattr(module, name))}
    bases = {base for cls in found.values() for base in cls.__mro__[1:]}
    return {name: cls for name, cls in found.items() if cls not in bases}


def is_settings(value: Any) -> bool:
    """A class of settings."""
    return isinstance(value, type) and hasattr(value, "model_fields")


def keys_of(cls: Any) -> list[Key]:
    """The settings of a class, under their names on disk."""
    return [
        Key(field.alias or name, field.annotation,
            _default(field.get_default(call_default_factory=True), field.is_required()),
            "; ".join(filter(None, [field.description, *(_bound(each) for each in field.metadata)])))
        for name, field in cls.model_fields.items()
    ]  # fmt: skip


def settings_page() -> str:
    """Every table of a settings file, then the settings that only Python and flags give."""
    classes = settings_classes()
    missing = [name for name in TABLES.values() if name not in classes]
    if missing:
        raise LookupError(f"docs/hooks.py: settings class {missing[0]} is not in {PACKAGE}; correct TABLES")
    shown: set[str] = set()
    lines: list[str] = []
    for table, name in TABLES.items():
        lines += _tables(table, classes[name], shown)
    in_options = any(key.name == "options" for key in keys_of(classes[TABLES["train"]]))
    parts: dict[str, list[str]] = {"[train.options]": [], "Settings that options and Python give": []}
    for name, cls in classes.items():
        of_training = in_options and ".learning." in cls.__module__ and name != "PretrainSettings"
        if name not in shown:
            parts["[train.options]" if of_training else "Settings that options and Python give"] += _section(
                name, cls, shown, level=3
            )
    for title, sections in parts.items():
        lines += [f"## {title}", "", *sections] if sections else []
    return "\n".join(lines)


def _tables(table: str, cls: Any, shown: set[str]) -> list[str]:
    lines = _section(f"[{table}]", cls, shown)
    for key in keys_of(cls):
        for each in (key.type, *typing.get_args(key.type)):
            if is_settings(each) and each.__name__ not in shown:
                lines += _tables(f"{table}.{key.name}", each, shown)
    return lines


def _section(title: str, cls: Any, shown: set[str], *, level: int = 2) -> list[str]:
    shown.add(cls.__name__)
    keys = keys_of(cls)
    meant = any(key.meaning for key in keys)
    lines = [f"{'#' * level} {title}", "", f"`{cls.__name__}` in `{_file(cls)}`. {_plain(_doc(cls))}", ""]
    lines += [f"| Key | Type | Default |{' Meaning |' if meant else ''}", f"|---|---|---|{'---|' if meant else ''}"]
    for key in keys:
        cells = [f"`{key.name}`", f"`{_cell_code(_type(key.type))}`", f"`{_cell_code(key.default)}`"]
        lines.append(f"| {' | '.join([*cells, _cell(key.meaning)] if meant else cells)} |")
    return [*lines, ""]


def _doc(cls: Any) -> str:
    text = cls.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else inspect.cleandoc(text).split("\n\nExamples:")[0]


def _file(cls: Any) -> str:
    return f"{cls.__module__.replace('.', '/')}.py"


def _type(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(repr(each) for each in typing.get_args(hint))
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint)).replace("NoneType", "None")


def _default(value: Any, required: bool) -> str:
    if required:
        return "must be given"
    return type(value).__name__ if is_settings(type(value)) else repr(value)


def _bound(constraint: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{sign} {getattr(constraint, name)}" for name, sign in signs.items() if hasattr(constraint, name))


# --- the public API --------------------------------------------------------------------------------------------------


def api_page() -> str:
    """What `damage_ssl.__all__` lists, for mkdocstrings; tables of names (algorithms, operations) spelt out."""
    package = importlib.import_module(PACKAGE)
    lines: list[str] = []
    for name in getattr(package, "__all__", ()):
        value = getattr(package, name)
        if isinstance(value, Mapping):
            lines += [f"## {name}", "", f"::: {type(value).__module__}.{type(value).__qualname__}", ""]
            lines += ["Names: " + ", ".join(f"`{key}`" for key in value), ""]
        elif inspect.ismodule(value):
            lines += [f"## {name}", "", f"::: {value.__name__}", ""]
        elif inspect.isclass(value) or inspect.isfunction(value):
            lines += [f"## {name}", "", f"::: {value.__module__}.{value.__qualname__}", ""]
    return "\n".join(lines)


GENERATED: Mapping[str, Callable[[], str]] = {"cli": cli_page, "settings": settings_page, "api": api_page}


# --- text ------------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A docstring as a paragraph of Markdown: words in angle brackets outside of code stay words."""
    parts = re.split(r"(`[^`]*`)", inspect.cleandoc(text))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", "\\|").replace("[", "\\[")


def _cell_code(text: str) -> str:
    return text.replace("|", "\\|")
