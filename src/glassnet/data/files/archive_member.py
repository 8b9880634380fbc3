"""Members of archives, and the bounds that keep archive bombs harmless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glassnet.data.files.image_file import MAX_FILE_BYTES
from glassnet.errors import DataError

MAX_MEMBERS = 2_000_000
MAX_RATIO = 100  # unpacked bytes by bytes of the archive; photos have about 1, a zip bomb has 1,000 or more
MIN_UNPACKED_LIMIT = 1 << 30  # small archives of plain areas, as of drawings in BMP, may have a larger ratio

NO_FILE = "Links and devices in the archive"
PATH_OUTSIDE = "Members of the archive with paths that lead out of it"
TOO_LARGE = f"Members of the archive larger than {MAX_FILE_BYTES >> 30} GB"
SPARSE = "Sparse files in the archive"
REPLACED = "Members of the archive with the name of a later one"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive that is no folder.

    Attributes: ``name``, its path in the archive; ``size``, its unpacked bytes according to the archive; ``read``,
    as in ImageFile; ``defect``, the group of members that are left out which it belongs to, or None.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    defect: str | None = None


def max_unpacked_bytes(n_packed: int) -> int:
    """Return how many bytes an archive of ``n_packed`` bytes may unpack to."""
    return max(MIN_UNPACKED_LIMIT, MAX_RATIO * n_packed)


def bomb_error(source: object, n_packed: int) -> DataError:
    """Return the error for an archive, or packed data, that unpacks to more than that."""
    return DataError(
        f"{source} must unpack to at most {MAX_RATIO} times its {n_packed:,} bytes, or "
        f"{MIN_UNPACKED_LIMIT >> 30} GB. Got more, as from an archive bomb. If the archive is as it should be, unpack "
        "it and name the folder."
    )


def damage_error(path: Path, reason: object) -> DataError:
    """Return the error for an archive that is damaged or not of its kind.

    :param reason: what is wrong, or the exception that a library raised.
    """
    text = " ".join(str(reason).split()) or type(reason).__name__
    return DataError(f"{path} must be an undamaged archive. Got: {text}. Download or pack it again.")
