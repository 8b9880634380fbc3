"""The folder of the cache, and in it one folder for each source."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from glassnet.files import write_atomically
from glassnet.progress import current_progress

VARIABLE = "GLASSNET_CACHE"
_FORMAT = 1  # goes up where files get another meaning
_NAME_LENGTH = 40


def cache_folder() -> Path:
    """Return the folder of the cache: that of GLASSNET_CACHE, or glassnet's in the user's folder of caches."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("glassnet", appauthor=False)


@dataclass(frozen=True)
class SourceFolder:
    """The folder of a source in the cache.

    Attributes: ``path``; ``source``, the path of the source, or its name on the hub.
    """

    path: Path
    source: str

    @classmethod
    def of(cls, source: str) -> SourceFolder:
        """Return the folder of a source, which need not exist yet."""
        name = re.sub(r"[^\w.-]+", "-", source.rstrip("/\\").replace("\\", "/").rpartition("/")[2])[:_NAME_LENGTH]
        digest = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return cls(cache_folder() / f"{name or 'images'}-{digest}", source)

    @property
    def _description(self) -> Path:
        return self.path / "source.json"

    @property
    def last_used(self) -> float:
        """The time when it was last used, in seconds since 1970."""
        return self._description.stat().st_mtime

    @property
    def is_there(self) -> bool:
        """Whether the source still exists; True for a data set of the hub."""
        return not os.path.isabs(self.source) or os.path.exists(self.source)  # noqa: PTH110, PTH117

    @cached_property
    def nbytes(self) -> int:
        """The bytes that its files take on the disk."""
        sizes = (path.stat() for path in self.path.rglob("*") if path.is_file())
        return sum(getattr(status, "st_blocks", -(-status.st_size // 512)) * 512 for status in sizes)

    def note_use(self) -> None:
        """Remember that it is used now, if it can be."""
        with suppress(OSError):
            os.utime(self._description)

    def prepare(self) -> None:
        """Make the folder, or empty it if it is of another format. Call it inside ``locked``.

        :raises OSError: if it cannot be written.
        """
        content = json.dumps({"format": _FORMAT, "source": self.source})
        try:
            is_current = self._description.read_text(encoding="ascii") == content
        except (OSError, UnicodeDecodeError):
            is_current = False
        if not is_current:
            self._remove_content()
            write_atomically(self._description, content.encode("ascii"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the folder. While another one does, wait for it and say so.

        :raises OSError: if the folder cannot be made, or not be locked.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            current_progress().log(f"Another process is decoding {self.source} into the cache. This one waits for it.")
            lock.acquire()
        except NotImplementedError as error:
            raise OSError(f"{self.path} cannot be locked") from error
        try:
            yield
        finally:
            lock.release()

    def remove(self) -> None:
        """Remove the folder. A process that uses its images keeps them, but on Windows.

        :raises OSError: if it cannot be removed.
        """
        with self.locked():
            self._remove_content()
        shutil.rmtree(self.path)

    def _remove_content(self) -> None:
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()


def source_folders() -> list[SourceFolder]:
    """Return the folders of all sources in the cache, of this format and of others, by the names of the sources."""
    folders = []
    for path in cache_folder().glob("*/source.json"):
        try:
            source = json.loads(path.read_text(encoding="ascii"))["source"]
        except (OSError, ValueError, TypeError, KeyError):
            continue
        folders.append(SourceFolder(path.parent, str(source)))
    return sorted(folders, key=lambda folder: folder.source)


def days_since(moment: float) -> float:
    """Return the days since a time in seconds since 1970."""
    return max(0.0, time.time() - moment) / 86_400
