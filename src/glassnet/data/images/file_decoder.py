"""Decoder of found files, for other processes: what a network is to read of each, or why there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.file_search import FoundFile
from glassnet.data.files.image_file import DiskReader, ImageFile
from glassnet.data.files.image_formats import is_named_as_image
from glassnet.data.images.decode import decode_file
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.image_opening import UnreadableError, quiet_pillow
from glassnet.data.images.ink import Ink
from glassnet.data.images.scan import scan_images

Readable = NDArray[np.uint8] | Ink


@dataclass(frozen=True)
class FileDecoder:
    """Decoder of found files in a form, or as drawn digits."""

    form: ImageForm
    ink: bool

    def __call__(self, files: Sequence[FoundFile]) -> list[Readable | str | None]:
        """Return for each file the image, uint8 (H, W, C), or the ink; or else the reason why it cannot be read.

        It is None for a file in a folder that is neither named nor recognised as an image.
        """
        with quiet_pillow(self.form.max_pixels):
            return [self._decode(file) for file in files]

    def _decode(self, found: FoundFile) -> Readable | str | None:
        if found.problem:
            return found.problem
        file = ImageFile(found.path, found.read or DiskReader(found.path))
        try:
            if found.in_folder and not is_named_as_image(found.path) and not self._is_recognised(file):
                return None
            return decode_file(file, self.form, self.ink)
        except UnreadableError as error:
            return str(error)

    def _is_recognised(self, file: ImageFile) -> bool:
        (scanned,) = scan_images([file], self.form.max_pixels)
        return scanned.is_image
