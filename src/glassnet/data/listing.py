"""The list of files that a data source has, before any of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glassnet.data.image_file import ImageFile


@dataclass(frozen=True)
class Listing:
    """The files of a folder, an archive or a data set, and what the source itself says about them.

    A folder or an archive has names only, and the layout of its folders says the rest. A table or a data set gives
    labels, and may give splits.

    Attributes: ``files``; ``labels``, the class name of each file, or None if the names decide; ``splits``, the
    split of each file in the source's own word ("train", "Validation", ...), or None if there are none; ``classes``,
    the class names in their order, or None to sort those in use; ``notes``, sentences for the user about what was
    left out.
    """

    files: Sequence[ImageFile]
    labels: Sequence[str] | None = None
    splits: Sequence[str | None] | None = None
    classes: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
