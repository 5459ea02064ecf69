"""An organisation's own logo and wording for report and offline map: a folder with `logo.png` and `template.toml`."""

import io
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from damage_ssl.errors import InputError, nearest_name

WORDING_FILE, LOGO_FILE = "template.toml", "logo.png"
_LOGO_PX = 480
_MOST_CHARACTERS = 600


@dataclass(frozen=True, kw_only=True)
class Template:
    """Organisation, contact and disclaimer as they are printed, None where not given; `logo` is a PNG."""

    organisation: str | None = None
    contact: str | None = None
    disclaimer: str | None = None
    logo: bytes | None = None


_KEYS = [field.name for field in fields(Template) if field.name != "logo"]


def read_template(folder: Path | None) -> Template:
    """Read a folder; None is a template without anything. Logos of more than 480 pixels are made smaller.

    Raises:
        InputError: there is no such folder or nothing in it, or a file of it cannot be used.
    """
    if folder is None:
        return Template()
    wording, logo = folder / WORDING_FILE, folder / LOGO_FILE
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; a template is a folder with {WORDING_FILE} and {LOGO_FILE}")
    if not wording.exists() and not logo.exists():
        raise InputError(f"{folder}: holds neither {WORDING_FILE} nor {LOGO_FILE}; one of them is needed")
    return replace(_wording(wording), logo=_logo(logo))


def _wording(path: Path) -> Template:
    if not path.exists():
        return Template()
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not TOML in UTF-8 ({error})") from error
    for key, value in said.items():
        if key not in _KEYS:
            raise InputError(f"{path}: '{key}' is unknown: {nearest_name(key, _KEYS)}")
        if not isinstance(value, str):
            raise InputError(f"{path}: '{key}' must be a text, such as {key} = \"…\"")
        if len(value) > _MOST_CHARACTERS:
            raise InputError(f"{path}: '{key}' has {len(value)} characters; {_MOST_CHARACTERS} fit on the page")
    return Template(**{key: value.strip() or None for key, value in said.items()})


def _logo(path: Path) -> bytes | None:
    if not path.exists():
        return None
    try:
        with Image.open(path) as image:
            image.thumbnail((_LOGO_PX, _LOGO_PX))
            file = io.BytesIO()
            image.convert("RGBA").save(file, "PNG", optimize=True)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a picture that can be read ({error}); save the logo as PNG") from error
    return file.getvalue()
