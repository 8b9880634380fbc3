"""Folders on disk: their files, and those below them."""

from __future__ import annotations

import os
from pathlib import Path

from glassnet.data.files.image_file import DiskReader, ImageFile
from glassnet.data.files.listing import Listing, is_system_name, sort_by_name
from glassnet.errors import DataError


def list_folder(folder: Path) -> Listing:
    """List the files in a folder and below it. Links are followed.

    :raises DataError: if a folder cannot be read, or a link leads to a folder that contains it.
    """
    root = str(folder / "_")[:-1]  # with the separator at its end
    files: list[ImageFile] = []
    system: list[str] = []
    names: list[str] = []
    waiting = [(str(folder), "", frozenset({_identity(str(folder))}))]
    while waiting:
        path, prefix, above = waiting.pop()
        for child in _children(path):
            name = prefix + child.name
            if is_system_name(child.name):
                system.append(name)
            elif _is_folder(child):
                identity = _identity(child.path)
                if identity in above:
                    raise DataError(f"{child.path} must not be a link to a folder that contains it. Remove the link.")
                names.append(name)
                waiting.append((child.path, f"{name}/", above | {identity}))
            else:
                files.append(ImageFile(name, DiskReader(name, root)))
    return Listing(sort_by_name(files), system_files=sorted(system), empty_folders=_empty(names, files))


def _children(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{path} must be a folder that can be read. Got: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reading it gives the reason
        return False


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116  # once for each of many folders
    return status.st_dev, status.st_ino


def _empty(folders: list[str], files: list[ImageFile]) -> list[str]:
    """Return the folders without a file in them or below, but not those inside another one."""
    filled = {""}
    for file in files:
        folder = file.name.rpartition("/")[0]
        while folder not in filled:
            filled.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(name for name in folders if name not in filled and name.rpartition("/")[0] in filled)
