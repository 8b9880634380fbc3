"""A file of a data source, wherever it is: in a folder, in an archive or in a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image.

    Attributes: ``name``, its path relative to the source, with "/" between the parts, for messages; ``read``, a
    function that returns its bytes. Threads may call it, in any order.
    """

    name: str
    read: Callable[[], bytes]
