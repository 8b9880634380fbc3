# Paths as text take a fraction of the memory and time of Path objects, and stay as the user gave them.
# ruff: noqa: PTH112, PTH116, PTH118, PTH208
"""The files behind paths that users give: files, folders and patterns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from glassnet.data.listing import is_system_name
from glassnet.errors import DataError

_MAGIC = re.compile(r"[*?[]")


class FoundFile(NamedTuple):
    """A file to read.

    Attributes: ``path``, as the user gave it, or below the folder as the user gave that; ``in_folder``, whether it was
    found in a folder, where files that are no images are expected; ``problem``, why there is nothing to read, or None.
    """

    path: str
    in_folder: bool = False
    problem: str | None = None


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[FoundFile]:
    """Yield the files of paths in order, each path when it is asked for: any number of them takes the same memory.

    A folder stands for all files in it and then for those of its folders, sorted by name, but for hidden and system
    ones. Links to folders are followed, and each folder is visited once. A path that does not exist and has ``*``,
    ``?`` or ``[`` is a pattern, where ``**`` stands for any folders. Everything else is a file, whether it exists or
    not.

    :raises DataError: if a path is something else.
    """
    for path in [paths] if isinstance(paths, str | bytes | os.PathLike) else paths:
        if not isinstance(path, str | bytes | os.PathLike):
            raise DataError(f"paths must be paths of files or folders. Got {path!r}.")
        name = os.fsdecode(path)
        found = False
        for match in _match(name) if _MAGIC.search(name) and not os.path.lexists(name) else [name]:
            found = True
            yield from _list_folder(match) if os.path.isdir(match) else [FoundFile(match)]
        if not found:
            yield FoundFile(name, problem="no file matches")


def _list_folder(top: str) -> Iterator[FoundFile]:
    found = False
    for folder, names, problem in _walk(top):
        if problem:
            yield FoundFile(folder, problem=problem)
        yield from (FoundFile(os.path.join(folder, name), in_folder=True) for name in names)
        found = found or bool(names or problem)
    if not found:
        yield FoundFile(top, problem="no files in this folder")


def _walk(top: str) -> Iterator[tuple[str, list[str], str | None]]:
    """Yield each folder from ``top`` on with the sorted names of its files, or why it cannot be read."""
    visited: set[tuple[int, int]] = set()
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)
            names = _visible_names(folder)
        except OSError as error:
            yield folder, [], error.strerror
            continue
        if (identity := (status.st_dev, status.st_ino)) in visited:
            continue
        visited.add(identity)
        below = [name for name in names if os.path.isdir(os.path.join(folder, name))]
        folders += [os.path.join(folder, name) for name in reversed(below)]
        skipped = set(below)
        yield folder, [name for name in names if name not in skipped], None


def _visible_names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not is_system_name(name))


def _match(pattern: str) -> Iterator[str]:
    """Yield the sorted paths that match; with ``**``, only files, as the folders that match are on the way to them."""
    root = Path(pattern).anchor
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", pattern[len(root) :]) if part]
    for path in _match_parts(root, parts):
        if "**" not in parts or not os.path.isdir(path):
            yield path


def _match_parts(folder: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield folder
        return
    part, *others = parts
    if part == "**":
        for inner, _, _ in _walk(folder or os.curdir):
            yield from _match_parts(inner if folder else inner[2:], others or ["*"])  # ./a is a
    elif _MAGIC.search(part):
        matches = re.compile(translate(part)).match
        for name in _names(folder):
            if matches(name):
                yield from _match_parts(os.path.join(folder, name), others)
    elif os.path.lexists(path := os.path.join(folder, part)):
        yield from _match_parts(path, others)


def _names(folder: str) -> list[str]:
    try:
        return _visible_names(folder or ".")
    except OSError:  # not a folder, or not a readable one: nothing in it matches
        return []
