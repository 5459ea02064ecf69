"""What a raster is called: by its user, by GDAL, and in messages."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

_PREFIXES = {
    "http://": "/vsicurl/http://",
    "https://": "/vsicurl/https://",
    "s3://": "/vsis3/",
    "gs://": "/vsigs/",
    "az://": "/vsiaz/",
}
_NETWORK = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsioss", "/vsiswift", "/vsiadls", "/vsihdfs", "/vsiwebhdfs")
_URL = re.compile(
    r"(?P<scheme>(?:https?|s3|gs|az)://)(?:[^/\s@?]+@)?(?P<rest>[^\s'\"?]*)(?P<query>\?[^\s'\"]*)?", re.IGNORECASE
)
# The query of an address with blanks or quotes in its path, and the options of GDAL's `/vsicurl?…&url=…`.
_QUERY = re.compile(r"\?(?=[^\s?]*=)[^\s'\"]*")


def gdal_path(href: str) -> str:
    """The name under which GDAL opens `href`: http(s), s3, gs and az URLs through its virtual file systems."""
    for prefix, virtual in _PREFIXES.items():
        if href.lower().startswith(prefix):
            return virtual + href[len(prefix) :]
    return href


def is_remote(href: str) -> bool:
    """Whether a raster is read over the network."""
    return any(part in gdal_path(href) for part in _NETWORK)


def is_url(href: str) -> bool:
    """Whether `href` is a URL or a GDAL virtual path, and not a file on this computer."""
    return "://" in href or href.startswith("/vsi")


def shown_href(href: str) -> str:
    """`href` as it may stand in messages: without user name, password and query, which may hold a signature."""
    return without_secrets(href) if is_url(href) else href


def without_secrets(text: str) -> str:
    """`text` with the user name, password and query of every address in it left out."""
    return _QUERY.sub("", _URL.sub(lambda found: found["scheme"] + found["rest"], text))


def raster_stem(href: str) -> str:
    """The last part of a raster's name, without suffix and query."""
    plain = without_secrets(href)
    path = urlsplit(plain).path if "://" in plain and not plain.startswith("/vsi") else plain
    return PurePosixPath(path).stem or "raster" if is_url(href) else Path(href).stem


def raster_suffix(href: str) -> str:
    """The suffix of a raster's name in lower case, e.g. `.tif`."""
    return PurePosixPath(shown_href(href)).suffix.lower()
