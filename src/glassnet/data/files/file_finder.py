"""Files of a source, found by the paths that a table has for them."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from glassnet.data.files.folder import list_folder
from glassnet.data.files.image_file import ImageFile
from glassnet.errors import DataError


class FileFinder:
    """The files that the rows of a table name.

    :param find: finds a file by the folder of the table and the path that a row has.
    :param list_all: lists the files of the source.
    """

    def __init__(
        self, find: Callable[[str, str], ImageFile | None], list_all: Callable[[], Sequence[ImageFile]]
    ) -> None:
        self._find, self._list_all = find, list_all

    @classmethod
    def on_disk(cls, root: Path) -> FileFinder:
        """Return the finder for tables in a folder; their paths may lead out of it, or be absolute."""

        def find(folder: str, path: str) -> ImageFile | None:
            full = os.path.join(root, folder, path)  # noqa: PTH118  # once for each row
            if not os.path.isfile(full):  # noqa: PTH113
                return None
            return ImageFile.on_disk(full, posixpath.normpath(posixpath.join(folder, path)))

        return cls(find, lambda: list_folder(root).files)

    @classmethod
    def among(cls, files: Sequence[ImageFile]) -> FileFinder:
        """Return the finder for tables in an archive."""
        by_name = {file.name: file for file in files}
        return cls(lambda folder, path: by_name.get(posixpath.normpath(posixpath.join(folder, path))), lambda: files)

    def by_path(self, folder: str, path: str) -> ImageFile | None:
        """Return the file at a path from the folder of the table."""
        slashed = path.replace("\\", "/")  # as Windows writes it
        spellings = [path, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))]
        return next(filter(None, (self._find(folder, spelling) for spelling in dict.fromkeys(spellings))), None)

    def by_name(self, name: str) -> ImageFile | None:
        """Return the only file of this name, with or without its suffix, wherever it is."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, ImageFile | None]:
        try:
            files = self._list_all()
        except DataError:
            return {}
        by_name: dict[str, ImageFile | None] = {}
        for file in files:
            base = posixpath.basename(file.name)
            for name in {base, posixpath.splitext(base)[0]}:
                by_name[name] = None if name in by_name else file
        return by_name
