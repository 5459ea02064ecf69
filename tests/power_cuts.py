"""Power cuts: what a program asked of the disk is recorded, and every state that a cut may leave can be made of it.

Device mapper's flakey and log-writes targets need a kernel that has them and root; lazyfs needs FUSE and is built from
source. What they give, and more of the legal states, follows from the calls themselves (Pillai et al. 2014, "All File
Systems Are Not Created Equal": ALICE, which runs on Python 2 only): `strace` writes them down, for threads and child
processes too. After a cut, only that is certain which was synced before: of a file's content by `fsync` of the file, of
names by `fsync` of their folder. Of everything else any part may be there, writes torn at a sector.

Writes through shared memory maps are not seen; of what is tested here only SQLite's `-shm` is written so, which counts
for nothing after a cut.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

SECTOR = 512
_CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,fsync,fdatasync,"
    "sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "sendfile,copy_file_range,dup,dup2,dup3"
)
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)(?:<((?:\\x[0-9a-f]{2})*)>)?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)(?:>|<)")


@dataclass
class Call:
    """One thing asked of the disk: `began` and `ended` are its places in the record."""

    began: int
    ended: int
    names: list[tuple[int, str, int | None]] = field(default_factory=list)
    """Entries of folders that change together: folder, name, and what it then stands for."""
    inode: int | None = None
    data: tuple[int, bytes] | None = None
    size: int | None = None
    synced: int | None = None
    said: str | None = None


class Recording:
    """The calls of a program below one folder, in order, with what was there before."""

    def __init__(self, root: Path, trace: Path, before: Path) -> None:
        self._root = str(root)
        self.calls: list[Call] = []
        self._entries: dict[int, dict[str, int]] = {}
        self._content: dict[int, bytes | None] = {}
        self._next = 1
        self._top = self._take(before)
        self._base_entries = {folder: dict(names) for folder, names in self._entries.items()}
        self._base_content = dict(self._content)
        self._offsets: dict[tuple[str, str], int] = {}
        self._appending: set[tuple[str, str]] = set()
        waiting: dict[str, tuple[int, str]] = {}
        for number, line in enumerate(trace.read_text(encoding="ascii").splitlines()):
            process, _, rest = line.partition(" ")
            rest = rest.strip()
            began = number
            if rest.endswith("<unfinished ...>"):
                waiting[process] = number, rest.removesuffix("<unfinished ...>").rstrip()
                continue
            if rest.startswith("<... "):
                began, start = waiting.pop(process)
                rest = start + rest.partition("resumed>")[2]
            found = _LINE.match(rest)
            if found and int(found[3]) >= 0:
                self._enter(began, number, found[1], found[2], int(found[3]), found[4])

    def _take(self, folder: Path) -> int:
        mine = self._new()
        self._entries[mine] = {}
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                self._entries[mine][entry.name] = self._take(Path(entry.path))
            else:
                inode = self._new()
                self._content[inode] = Path(entry.path).read_bytes()
                self._entries[mine][entry.name] = inode
        return mine

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _place(self, path: str) -> tuple[int, str] | None:
        """The folder and name of a path below the root; None for one elsewhere."""
        path = os.path.normpath(path)
        if not path.startswith(self._root + "/"):
            return None
        *folders, name = path[len(self._root) + 1 :].split("/")
        at = self._top
        for each in folders:
            at = self._entries[at][each]
        return at, name

    def _inode(self, path: str) -> int | None:
        if os.path.normpath(path) == self._root:
            return self._top
        try:
            place = self._place(path)
        except KeyError:
            return None  # a file that has no name any more
        return None if place is None else self._entries[place[0]].get(place[1])

    def _rename(self, call: Call, old: str, new: str, *, exchange: bool) -> None:
        source, target = self._place(old), self._place(new)
        if source is None or target is None:
            assert source is target, f"moved in or out of what is recorded: {old} {new}"
            return
        moved, replaced = self._entries[source[0]].pop(source[1]), self._entries[target[0]].get(target[1])
        self._set(call, *source, replaced if exchange else None)
        self._set(call, *target, moved)

    def _set(self, call: Call, folder: int, name: str, inode: int | None) -> None:
        call.names.append((folder, name, inode))
        if inode is None:
            self._entries[folder].pop(name, None)
        else:
            self._entries[folder][name] = inode

    def _enter(self, began: int, ended: int, name: str, arguments: str, result: int, opened: str | None) -> None:
        call = Call(began, ended)
        texts = [_text(each) for each in _TEXT.findall(arguments)]
        given = _FILE.match(arguments)
        gone = ">(deleted)" in arguments
        key = (given[1], _text(given[2]).decode()) if given and not gone else ("", "")
        paths = [self._whole(arguments, number) for number in range(len(texts))] if name in _BY_PATH else []
        if name in ("write", "writev") and given and given[1] == "1":
            call.said = b"".join(texts).decode(errors="replace")
        elif name in ("open", "openat", "creat"):
            self._open(call, paths[0], arguments, str(result))
        elif name in ("mkdir", "mkdirat"):
            if place := self._place(paths[0]):
                inode = self._new()
                self._entries[inode] = {}
                self._set(call, *place, inode)
        elif name in ("rename", "renameat", "renameat2"):
            self._rename(call, paths[0], paths[1], exchange="RENAME_EXCHANGE" in arguments)
        elif name in ("link", "linkat"):
            if place := self._place(paths[1]):
                self._set(call, *place, self._inode(paths[0]))
        elif name in ("unlink", "unlinkat", "rmdir"):
            if place := self._place(paths[0]):
                self._set(call, *place, None)
        elif name in ("write", "writev", "pwrite64", "pwritev", "ftruncate", "fsync", "fdatasync", "lseek"):
            self._content_call(call, name, key, arguments, b"".join(texts), result)
        elif name in ("sendfile", "copy_file_range", "fallocate", "symlink", "symlinkat", "pwritev2", "truncate"):
            assert self._root not in bytes.fromhex("".join(re.findall(r"\\x([0-9a-f]{2})", arguments))).decode(
                errors="replace"
            ), f"{name}: not recorded yet"
        if call.names or call.inode is not None or call.synced is not None or call.said is not None:
            self.calls.append(call)

    def _open(self, call: Call, path: str, arguments: str, descriptor: str) -> None:
        place = self._place(path)
        if place is None:
            return
        self._offsets[descriptor, path] = 0
        self._appending.discard((descriptor, path))
        if "O_APPEND" in arguments:
            self._appending.add((descriptor, path))
        inode = self._entries[place[0]].get(place[1])
        if inode is None and "O_CREAT" in arguments:
            inode = self._new()
            self._content[inode] = b""
            self._set(call, *place, inode)
        elif inode is not None and "O_TRUNC" in arguments:
            call.inode, call.size = inode, 0
            self._content[inode] = b""

    def _content_call(
        self, call: Call, name: str, key: tuple[str, str], arguments: str, data: bytes, result: int
    ) -> None:
        inode = self._inode(key[1])
        if inode is None:
            return
        if name == "lseek":
            self._offsets[key] = result
        elif name in ("fsync", "fdatasync"):
            call.synced = inode
        elif name == "ftruncate":
            call.inode, call.size = inode, int(arguments.rsplit(",", 1)[1])
            self._content[inode] = _resized(self._content[inode] or b"", call.size)
        else:
            content = self._content[inode] or b""
            if name in ("pwrite64", "pwritev"):
                offset = int(arguments.rsplit(",", 1)[1])
            else:
                offset = len(content) if key in self._appending else self._offsets.get(key, 0)
                self._offsets[key] = offset + result
            call.inode, call.data = inode, (offset, data[:result])
            self._content[inode] = _written(content, *call.data)

    def _whole(self, arguments: str, number: int) -> str:
        """The path of the text `number` of a call, with the folder that it is relative to."""
        found = list(_TEXT.finditer(arguments))[number]
        path = _text(found[1]).decode()
        base = re.search(r"<((?:\\x[0-9a-f]{2})*)>, $", arguments[: found.start()])
        return path if path.startswith("/") or base is None else f"{_text(base[1]).decode()}/{path}"

    def said(self, cut: int) -> list[str]:
        """The lines that the program had printed when it was cut off."""
        return "".join(call.said for call in self.calls[:cut] if call.said is not None).splitlines()

    def leave(self, cut: int, folder: Path, rng: np.random.Generator) -> None:
        """Write what a disk may hold after a cut before call `cut`, into `folder`, which is made anew."""
        calls = self.calls[:cut]
        kept = {number for number in range(cut) if self._certain_from[number] < cut}
        mode = rng.choice(["none", "all", "any", "ordered"])
        last_name = max((n for n in kept if calls[n].names), default=-1)
        if mode == "ordered":  # as file systems with a journal of names do: a beginning of them, content as it comes
            last_name = int(rng.integers(last_name, len(calls))) if len(calls) > last_name else last_name
        content, entries = dict(self._base_content), {key: dict(value) for key, value in self._base_entries.items()}
        for number, call in enumerate(calls):
            sure = number in kept
            lucky = mode == "all" or (mode != "none" and rng.random() < 0.5)
            if call.names and (sure or (number <= last_name if mode == "ordered" else lucky)):
                for place, name, inode in call.names:
                    entries.setdefault(place, {})
                    if inode is None:
                        entries[place].pop(name, None)
                    else:
                        entries[place][name] = inode
            if call.inode is None or not (sure or lucky):
                continue
            have = content.get(call.inode) or b""
            if call.size is not None:
                content[call.inode] = _resized(have, call.size)
            if call.data is not None:
                offset, data = call.data
                if not sure and mode != "all" and rng.random() < 0.3:  # torn: some sectors of it
                    data = data[: SECTOR * int(rng.integers(0, len(data) // SECTOR + 1))]
                content[call.inode] = _written(have, offset, data)
        shutil.rmtree(folder, ignore_errors=True)
        self._put(folder, self._top, entries, content)

    @cached_property
    def _certain_from(self) -> list[int]:
        """Of each call the number of the one that made its effect certain."""
        syncs: dict[int, list[int]] = defaultdict(list)
        for number, call in enumerate(self.calls):
            if call.synced is not None:
                syncs[call.synced].append(number)

        def first(inode: int, call: Call) -> int:
            return next((number for number in syncs[inode] if self.calls[number].began > call.ended), len(self.calls))

        return [
            min(
                (first(each, call) for each in (call.inode, *(folder for folder, _, _ in call.names)) if each),
                default=0,
            )
            for call in self.calls
        ]

    def _put(
        self, folder: Path, inode: int, entries: dict[int, dict[str, int]], content: dict[int, bytes | None]
    ) -> None:
        folder.mkdir(parents=True)
        for name, each in entries.get(inode, {}).items():
            if each in self._entries or each in self._base_entries:
                self._put(folder / name, each, entries, content)
            else:
                (folder / name).write_bytes(content.get(each) or b"")


_BY_PATH = {
    *("open", "openat", "creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("unlink", "unlinkat", "rmdir"),
}


def recorded(script: str, root: Path, *arguments: str) -> Recording:
    """Run a Python program that works below `root`, and record what it asks of the disk there.

    It says what it promises by printing it.
    """
    before, trace = root.with_name(f"{root.name}.before"), root.with_name(f"{root.name}.trace")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(root, before)
    command = ["strace", "-f", "-y", "-xx", "-s", str(1 << 26), "-e", f"trace={_CALLS}", "--seccomp-bpf", "-o"]
    done = subprocess.run(
        [*command, str(trace), sys.executable, "-u", "-c", script, str(root), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = Recording(root, trace, before)
    trace.unlink()
    return found


def can_record() -> bool:
    """Whether `strace` is there and may watch a process."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def _text(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


def _resized(content: bytes, size: int) -> bytes:
    return content[:size].ljust(size, b"\0")


def _written(content: bytes, offset: int, data: bytes) -> bytes:
    if not data:
        return content
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]
