"""The bytes of a jko file: an .npz with a JSON header and one block of numbers, nothing else.

Whatever stands at a path, reading it ends at once, in memory bounded by the file: only regular
files are opened, only the two members that `pack` writes are read, and no size that a file
declares is believed before it has been compared with the bytes that are there.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
import stat
import struct
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from jko.errors import InvalidArgument
from jko.validation import brief

#: What a JSON header holds: values of no type known before they are checked.
Tree = dict[str, Any]

FORMAT = "jko"
#: Raised when files of before cannot be read as they are.
VERSION = 1
#: Scratch files older than this many seconds belong to a process that was killed.
ABANDONED = 3600.0
#: What zipfile, numpy or json raise on a file that is none of ours.
FOREIGN = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    RuntimeError,  # encrypted members, endless nesting
    NotImplementedError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class InvalidFile(InvalidArgument):
    """A file is missing, unreadable, truncated, foreign or newer than this library."""


@dataclass(frozen=True)
class Stamp:
    """Which file stands at a path: another writer leaves another stamp."""

    node: int
    changed: int
    size: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """The stamp of a file, None where there is none."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path, or a sentence."""
    try:
        return Path(path)
    except TypeError:
        raise InvalidArgument(f"path = {brief(path)} is not a path; pass a file name") from None


def target_of(path: str | os.PathLike[str]) -> Path:
    """A path where a file can stand, or a sentence."""
    target = as_path(path)
    try:
        target.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # a name with a zero byte, or too long
        raise InvalidFile(f"cannot write {brief(str(path))}: {_reason(error)}") from None
    if not target.name or target.is_dir():
        raise InvalidFile(f"path = {str(path)!r} is a folder; pass the name of a file in it")
    if not target.parent.is_dir():
        raise InvalidFile(f"cannot write {target}: the folder {target.parent} is missing")
    if target.exists() and not target.is_file():
        raise InvalidFile(f"cannot write {target}: it is no regular file; pass another name")
    return target


def _reason(error: Exception) -> str:
    """What the system says, without the name of the file."""
    return getattr(error, "strerror", None) or str(error)


def pack(header: Tree, data: np.ndarray) -> memoryview:
    """The bytes of a file."""
    buffer = io.BytesIO()
    text = json.dumps({"format": FORMAT, "version": VERSION, **header}).encode()
    np.savez(buffer, header=np.frombuffer(text, dtype=np.uint8), data=data)
    return buffer.getbuffer()


def put(target: Path, content: memoryview) -> Stamp | None:
    """Write atomically: after a crash the file is the old one or the new one, whole.

    Every write has a scratch name of its own in the same folder, so that two writers of one file
    never mix their bytes: the last one to finish wins, whole.
    """
    real = target.resolve()  # a link stays a link
    scratch = real.with_name(f"{real.name}.{os.getpid():x}-{secrets.token_hex(4)}.tmp")
    try:
        with open(scratch, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        stamp = Stamp.of(scratch)  # it keeps inode and times when it is renamed
        os.replace(scratch, real)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise InvalidFile(
            f"cannot write {target}: {_reason(error)}; what stood there was left untouched"
        ) from error
    return stamp


def sweep(target: Path) -> None:
    """Remove what killed writers of this file left behind long ago."""
    real = target.resolve()
    scratch = re.compile(re.escape(real.name) + r"(\.[0-9a-f]+-[0-9a-f]{8})?\.tmp")
    try:
        for entry in os.scandir(real.parent):
            if not scratch.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            if time.time() - entry.stat().st_mtime > ABANDONED:
                os.unlink(entry.path)
    except OSError:  # somebody else was quicker, or may clean here and we may not
        return


def take(target: Path) -> tuple[Tree, np.ndarray]:
    """Header and array bytes of a jko file."""
    _require_regular(target)
    try:
        with zipfile.ZipFile(target) as members:
            header = json.loads(_member(members, "header.npy").tobytes().decode())
            data = _member(members, "data.npy")
        if header["format"] != FORMAT or not isinstance(header["version"], int):
            raise ValueError("foreign header")
        if not isinstance(header["kind"], str):
            raise ValueError("foreign header")
    except PermissionError as error:
        raise InvalidFile(f"cannot read {target}: {_reason(error)}") from None
    except FOREIGN as error:
        raise InvalidFile(
            f"{target} is not a jko file, or it is truncated ({type(error).__name__});"
            " it was left untouched"
        ) from None
    return header, data


def _require_regular(target: Path) -> None:
    """Refuse what cannot be read to its end: folders, pipes, devices, sockets."""
    try:
        found = target.stat()
    except FileNotFoundError:
        raise InvalidFile(f"{target} does not exist") from None
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read {brief(str(target))}: {_reason(error)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InvalidFile(f"cannot read {target}: it is a directory; pass the name of a file")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidFile(
            f"cannot read {target}: it is a pipe or a device, no regular file; copy it to one first"
        )
    if found.st_size > _memory():
        raise InvalidFile(
            f"cannot read {target}: its {found.st_size} bytes are more than this machine's memory"
        )


def _memory() -> float:
    """Bytes of memory of this machine, infinity where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _member(members: zipfile.ZipFile, name: str) -> np.ndarray:
    """The bytes of a stored member: what it declares must be there, or nothing is read."""
    place = members.getinfo(name)
    if place.compress_type != zipfile.ZIP_STORED or place.compress_size != place.file_size:
        raise ValueError("a compressed member")
    assert members.filename is not None
    if place.file_size > os.stat(members.filename).st_size:
        raise ValueError("a member larger than its file")
    with members.open(place) as stream:
        if npy.read_magic(stream) != (1, 0):
            raise ValueError("a foreign version of the format of arrays")
        shape, _, dtype = npy.read_array_header_1_0(stream)
        if dtype != np.uint8 or shape != (place.file_size - stream.tell(),):
            raise ValueError("a member that is not one block of bytes")
        return np.frombuffer(stream.read(), dtype=np.uint8)
