"""The one door for small records on disk: what is read has the shape and the ranges of its type, or is damaged."""

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import damage_named, read_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record], advice: str) -> Record:
    """A dataclass from a JSON file that this or another version wrote: fields that are not known are left out.

    Ranges stand at the fields of the dataclass (`Annotated[float, Field(ge=0, le=1)]`).

    Raises:
        WorkspaceError: the file is damaged; the message names it, what is wrong with it, and the way out (`advice`).
        OSError: there is no such file, or it may not be read.
    """
    from pydantic import ValidationError

    with damage_named(path, advice):
        values = dict(read_json(path))
    try:
        known = (field.name for field in fields(kind))  # type: ignore[arg-type]  # a dataclass
        record: Record = _adapter(kind).validate_python(  # type: ignore[arg-type]
            {name: values[name] for name in known if name in values}
        )
        return record
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WorkspaceError(f"{path}: is damaged ({where}: {first['msg'].lower()}); {advice}") from error


@cache
def _adapter(kind: type[Any]) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
