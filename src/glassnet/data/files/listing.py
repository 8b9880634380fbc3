"""The list of files that a data source has, before any of them is read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glassnet.data.files.image_file import ImageFile

N_NAMED = 3  # a line that counts files names the first ones
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_SYSTEM_NAMES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),  # Windows
    *("__macosx", "icon\r"),  # macOS, whose other files are hidden
    *("@eadir", "lost+found"),  # Synology's and Linux's disks
}


@dataclass(frozen=True)
class Listing:
    """The files of a folder, an archive or a data set, and what the source itself says about them.

    A folder or an archive has names only, and the layout of its folders says the rest. A table or a data set gives
    labels, and may give splits.

    Attributes: ``files``; ``labels``, the class name of each file, or None if the names decide; ``splits``, the
    split of each file in the source's own word ("train", "Validation", ...), or None if there are none; ``classes``,
    the class names in their order, or None to sort those in use; ``notes``, sentences for the user about what was
    left out; ``system_files``, names of hidden and system files and folders, which are left out;
    ``empty_folders``, names of folders without any file.
    """

    files: Sequence[ImageFile]
    labels: Sequence[str] | None = None
    splits: Sequence[str | None] | None = None
    classes: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    system_files: Sequence[str] = ()
    empty_folders: Sequence[str] = ()


def is_system_name(name: str) -> bool:
    """Return whether a file or a folder of this name is hidden, or made by an operating system for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_members(files: Iterable[ImageFile]) -> Listing:
    """Return the listing of an archive's members, without hidden and system files."""
    kept: list[ImageFile] = []
    system: dict[str, None] = {}
    for file in files:
        parts = file.name.split("/")
        first = next((index for index, part in enumerate(parts) if is_system_name(part)), None)
        if first is None:
            kept.append(file)
        else:
            system["/".join(parts[: first + 1])] = None
    return Listing(sort_by_name(kept), system_files=list(system))


def sort_by_name(files: Iterable[ImageFile]) -> list[ImageFile]:
    """Return the files, folder by folder, in an order that no operating system changes."""
    by_name = sorted(files, key=lambda file: file.name)
    by_name.sort(key=lambda file: unicodedata.normalize("NFC", file.name).replace("/", "\0"))  # keeps that order
    return by_name


def name_some(names: Sequence[str], separator: str = ", ") -> str:
    """Return the first three names, and three points if there are more."""
    dots = ["..."] if len(names) > N_NAMED else []
    return separator.join([*map(printable, names[:N_NAMED]), *dots])


def printable(name: str) -> str:
    """Return the name with ? for what is not valid UTF-8 or would control the terminal that prints it."""
    return name if name.isascii() and name.isprintable() else re.sub(_UNPRINTABLE, "?", name)
