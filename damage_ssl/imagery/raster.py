"""Opening rasters wherever they lie: GDAL's options, open files kept for a while, and trying again."""

import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from damage_ssl.errors import InputError
from damage_ssl.imagery.href import gdal_path, is_remote, is_url, shown_href, without_secrets
from damage_ssl.settings import ReadSettings

T = TypeVar("T")

UNREADABLE = (RasterioError, CPLE_BaseError, UnicodeDecodeError)
"""What rasterio raises of a raster that cannot be read: its own errors, GDAL's, and of names that are no UTF-8."""
Key = tuple[str, int | None, tuple[int, ...]]

GDAL_CACHE_BYTES = 64_000_000
"""GDAL's block cache in each process: a stage that bounds its memory counts it in."""
OPEN_RASTERS = 16
"""Rasters that each process keeps open for the next chunk: over HTTP, opening one costs two or three round trips."""


# GDAL reads this once, when it caches its first block; an environment variable reaches every thread and child process,
# rasterio.Env only its own thread.
os.environ.setdefault("GDAL_CACHEMAX", str(GDAL_CACHE_BYTES // 1_000_000))


_FAILED_FOR_S = 60.0
_FAILED_AT: dict[str, float] = {}
_NETWORK_CACHES = "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/"
_STATUS = re.compile(r"HTTP (?:response|error) code\D*(\d{3})")
_FINAL = {400, 401, 403, 404, 405, 410, 416, 451}
_TRIED_BY_GDAL = {429, 500, 502, 503, 504}
_ALSO_TRIED_BY_GDAL = re.compile("timed out|timeout|Connection (was )?reset", re.IGNORECASE)


def from_raster(
    href: str,
    read: Callable[[Any], T],
    *,
    overview: int | None = None,
    reading: ReadSettings | None = None,
    error: type[InputError] = InputError,
) -> T:
    """The result of `read(dataset)` on an open raster; over the network, what fails is tried again with growing waits.

    A source that has failed after all its tries is tried only once at a time in the next minute, until it works again:
    an event has thousands of chunks. `read` may be called several times. The dataset is this caller's alone until
    `read` returns, then it is kept open for the next caller (of any thread). A file that was replaced in the meantime
    is opened anew; the sources of a VRT and remote files are taken not to change while a process runs.

    Args:
        href: a path, a URL (http, https, s3, gs, az) or a GDAL virtual path.
        read: what to do with the `rasterio.DatasetReader`.
        overview: GDAL's number of the overview to open instead, 0 for the finest.
        reading: number of tries, waits and time limits.
        error: the class of the error that is raised.

    Raises:
        InputError: (or `error`) it cannot be opened or read; the message names the cause and what to do.
    """
    reading = reading or ReadSettings()
    if time.monotonic() - _FAILED_AT.get(href, -_FAILED_FOR_S) < _FAILED_FOR_S:
        reading = reading.replace(tries=1)
    tried = 0
    while True:
        try:
            result = _read_once(href, read, overview, reading)
            _FAILED_AT.pop(href, None)
            return result
        except UNREADABLE as failure:
            tried += 1
            if tried >= reading.tries or not _may_pass(href, failure):
                if is_remote(href):
                    _FAILED_AT[href] = time.monotonic()
                raise error(_explained(href, failure)) from failure
        time.sleep(reading.wait_s * 2 ** (tried - 1))


def is_there(href: str, reading: ReadSettings) -> bool:
    """Whether a raster can be opened; False where it does not exist, may not be read, or is none.

    Raises:
        InputError: that cannot be told, because the server cannot be reached or fails.
    """
    try:
        return from_raster(href, lambda source: True, reading=reading)
    except InputError as error:
        text = _causes(error)
        if "CURL error" in text or _status(text) not in _FINAL | {None}:
            raise
        return False


@contextmanager
def open_raster(href: str, **options: Any) -> Iterator[rasterio.DatasetReader]:
    """Open a raster of its own, e.g. one without georeferencing or with other GDAL open options; not tried again.

    Raises:
        InputError: it cannot be opened, or reading from it failed within the block.
    """
    with rasterio.Env(**gdal_options(href, ReadSettings())), quiet():
        try:
            with rasterio.open(gdal_path(href), **options) as source:
                yield source
        except UNREADABLE as failure:
            raise InputError(_explained(href, failure)) from failure


@contextmanager
def gdal_environment(href: str) -> Iterator[None]:
    """GDAL set up for reading `href` (under its `gdal_path`) by other means than `from_raster`, in this thread."""
    with rasterio.Env(**gdal_options(href, ReadSettings())):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """No warning about missing georeferencing, which is checked and named as an error instead.

    Python's warning filters belong to the process: only the main thread changes them, for the threads it waits for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def gdal_options(href: str, reading: ReadSettings) -> dict[str, str]:
    """GDAL's configuration for reading `href`; what the user has set in the environment goes first.

    A remote raster stands alone: its folder is not listed and no sidecar file is looked for.
    """
    options = {
        "GDAL_HTTP_MAX_RETRY": str(reading.tries - 1),
        "GDAL_HTTP_RETRY_DELAY": f"{reading.wait_s:g}",
        "GDAL_HTTP_CONNECTTIMEOUT": f"{reading.connect_timeout_s:g}",
        "GDAL_HTTP_LOW_SPEED_TIME": f"{reading.stall_timeout_s:g}",
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
        # Else GDAL remembers for as long as the process runs that a server once failed.
        "CPL_VSIL_CURL_NON_CACHED": _NETWORK_CACHES,
    }
    if is_remote(href):
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    elif href.lower().endswith(".vrt"):
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "TRUE"  # its sources may be remote; their folders are not listed
    return {name: value for name, value in options.items() if name not in os.environ}


class _OpenRasters:
    """Rasters that are open and idle; the one unused for longest is closed first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._idle: list[tuple[Key, Any]] = []
        self._inherited: list[Any] = []

    def take(self, key: Key) -> Any | None:
        with self._lock:
            self._leave_parents()
            for place in range(len(self._idle) - 1, -1, -1):
                if self._idle[place][0] == key:
                    return self._idle.pop(place)[1]
        return None

    def give_back(self, key: Key, source: Any) -> None:
        with self._lock:
            self._leave_parents()
            self._idle.append((key, source))
            surplus = [self._idle.pop(0)[1] for _ in range(len(self._idle) - self._most)]
        for old in surplus:
            old.close()

    def close(self) -> None:
        with self._lock:
            self._leave_parents()
            idle, self._idle = self._idle, []
        for _, source in idle:
            source.close()

    def _leave_parents(self) -> None:
        """In a forked process the parent's rasters are neither used nor closed: they share its connections."""
        if self._process != os.getpid():
            self._inherited += [source for _, source in self._idle]
            self._process, self._idle = os.getpid(), []


_OPEN = _OpenRasters(OPEN_RASTERS)


os.register_at_fork(after_in_child=lambda: setattr(_OPEN, "_lock", threading.Lock()))


def close_rasters() -> None:
    """Close all rasters that this process keeps open for later."""
    _OPEN.close()


def _read_once(href: str, read: Callable[[Any], T], overview: int | None, reading: ReadSettings) -> T:
    key: Key = (href, overview, _file_state(href))
    with rasterio.Env(**gdal_options(href, reading)):
        source = _OPEN.take(key)
        if source is None:
            options = {} if overview is None else {"OVERVIEW_LEVEL": overview}
            source = rasterio.open(gdal_path(href), **options)
        try:
            result = read(source)
        except BaseException:
            source.close()
            raise
    _OPEN.give_back(key, source)
    return result


def _file_state(href: str) -> tuple[int, ...]:
    if is_url(href):
        return ()
    try:
        state = Path(href).stat()
    except OSError:
        return ()
    return state.st_size, state.st_mtime_ns, state.st_ino


def _may_pass(href: str, failure: BaseException) -> bool:
    """Whether it may go well another time: over the network, unless the server has given a final answer."""
    text = _causes(failure)
    if not (is_remote(href) or "CURL error" in text or "/vsi" in text):
        return False
    status = _status(text)
    if _ALSO_TRIED_BY_GDAL.search(text):
        return False
    if status is None:
        return "not recognized as" not in text or "does not exist" in text
    return status not in _FINAL | _TRIED_BY_GDAL


def _explained(href: str, failure: BaseException) -> str:
    text = without_secrets(_causes(failure))
    name, status = shown_href(href), _status(text)
    logging.getLogger(__name__).debug("%s: %s", name, text)
    instead = "or download the file and give its path"
    if is_remote(href) and status in {404, 410}:
        return f"{name}: the server has no such file (HTTP {status}); check the address, {instead}"
    if is_remote(href) and status in {401, 403}:
        return (
            f"{name}: the server refuses access (HTTP {status}): a signed link may have expired, or credentials are "
            f"missing (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_NO_SIGN_REQUEST=YES for a public "
            f"bucket); give a fresh link, {instead}"
        )
    if is_remote(href) and status is not None and status >= 429:
        return f"{name}: the server fails (HTTP {status}), also when asked again; try later, {instead}"
    if "CURL error" in text:
        cause = text[text.index("CURL error") :].removeprefix("CURL error: ").split(" | ")[0]
        return f"{name}: cannot be reached ({cause}); is this computer online? Check network and address, {instead}"
    if "Range downloading not supported" in text:
        return f"{name}: the server gives files only whole, not in parts; download the file and give its path"
    if not is_url(href) and not Path(href).exists():
        return f"{name}: is not there (any more); put it back, or give its new path"
    cause = text.split(" | ")[-1]
    return (
        f"{name}: cannot be read as a raster ({cause}); the file may be truncated or not an image: "
        "copy or download it again"
    )


def _causes(failure: BaseException) -> str:
    """The messages of an error and of all that led to it, the last cause last."""
    texts: list[str] = []
    cause: BaseException | None = failure
    while cause is not None:
        if str(cause) not in texts:
            texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return " | ".join(texts)


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None
