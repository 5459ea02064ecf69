"""Files made wrong: other bytes, fewer, more, an end that is missing; and other values in the right places."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ODD_NUMBERS = (b"0", b"-1", b"1e308", b"1e999", b"-1e-400", b"NaN", b"Infinity", b"9" * 400, b"2147483648", b"1e5", b"")
ODD_VALUES = (
    *(None, True, 0, -1, 2**63, 1e308, float("nan"), float("inf"), "", "x", "\ud800", "\x00", "a" * 3000, "../../etc"),
    *([], {}, [None], [[[[]]]], {"": None}, [1, "a"], {"type": "Polygon"}, "2023-02-30", "NaN", [0, 0, 0, 0]),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content, damaged in one of the ways that it offers; of what is packed, mostly what is inside."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.8:
        return gzip.compress(mutated(gzip.decompress(content), rng))
    if content[:4] == b"PK\x03\x04" and rng.random() < 0.8:
        return _in_zip(content, rng)
    ways: list[Callable[[bytes, np.random.Generator], bytes]] = [other_bytes, other_bytes, flipped_bits]
    if content[:400].isascii() or content[:1] in b"{[<":
        ways += [other_number, swapped_lines]
    if content.lstrip()[:1] in (b"{", b"["):
        ways += [other_value] * 3
    return ways[int(rng.integers(len(ways)))](content, rng)


def _in_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """A zip in which one member is damaged, its checksum right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = list(members)[int(rng.integers(len(members)))]
    members[chosen] = mutated(members[chosen], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, inside in members.items():
            archive.writestr(name, inside)
    return file.getvalue()


def other_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four places with other bytes, fewer, or more; or an end that is missing."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, size = int(rng.integers(max(len(data), 1))), int(rng.integers(1, 30))
        what = rng.integers(5)
        if what == 0:
            data[at : at + size] = rng.bytes(size)
        elif what == 1:
            del data[at : at + size]
        elif what == 2:
            data[at:at] = data[at : at + size]
        elif what == 3:
            data[at : at + size] = bytes([int(rng.choice([0, 255]))]) * size
        else:
            del data[max(at, 1) :]
    return bytes(data)


def flipped_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits the other way round, half of the time near the beginning, where the headers are."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        reach = min(len(data), 200) if rng.random() < 0.5 else len(data)
        if reach:
            data[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
    return bytes(data)


def other_number(content: bytes, rng: np.random.Generator) -> bytes:
    """One number of a text, replaced by one that nobody expects."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return other_bytes(content, rng)
    where = found[int(rng.integers(len(found)))]
    return content[: where.start()] + ODD_NUMBERS[int(rng.integers(len(ODD_NUMBERS)))] + content[where.end() :]


def swapped_lines(content: bytes, rng: np.random.Generator) -> bytes:
    """A text with two of its lines in each other's place, or one of them twice."""
    lines = content.split(b"\n")
    one, other = (int(each) for each in rng.integers(len(lines), size=2))
    if rng.random() < 0.5:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines.insert(one, lines[other])
    return b"\n".join(lines)


def other_value(content: bytes, rng: np.random.Generator) -> bytes:
    """JSON, or a line of it, in which one value is of another kind, is missing, or has another name."""
    lines = content.split(b"\n")
    number = 0
    try:
        value = json.loads(content)
        rest: list[bytes] | None = None
    except (ValueError, RecursionError):
        number, rest = int(rng.integers(len(lines))), lines
        try:
            value = json.loads(lines[number])
        except (ValueError, RecursionError):
            return other_bytes(content, rng)
    places = list(_places(value))
    if not places:
        return other_bytes(content, rng)
    holder, key = places[int(rng.integers(len(places)))]
    what = rng.integers(4)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    text = json.dumps(value).encode()
    if rest is None:
        return text
    rest[number] = text
    return b"\n".join(rest)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every dict and every number of every list, with what holds it."""
    if isinstance(value, dict | list):
        for key in list(value if isinstance(value, dict) else range(len(value))):
            yield value, key
            yield from _places(value[key])
