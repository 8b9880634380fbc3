"""Splits of decoded images: in memory, or in the cache where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from glassnet.data.cache.image_cache import ImageCache
from glassnet.data.cache.room import CacheError, check_memory, log_without_cache
from glassnet.data.cache.stored_images import StoredImages
from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_images
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import Scans, scan_images
from glassnet.data.load_options import LoadOptions
from glassnet.data.selection import Images
from glassnet.data.split import Split
from glassnet.data.splitting import Hashes

# From there on decoding again takes a second or more (benchmarks/README.md).
CACHED_FILES = 2_000
CACHED_BYTES = 256 << 20


@dataclass(frozen=True)
class Decoder:
    """Decoder of the files of a source.

    Attributes: ``source``, the absolute path of the source, or its name on the hub; ``listed``, the content hashes of
    all its files; ``ink``, whether the images are read as drawn digits.
    """

    source: str
    listed: Hashes
    ink: bool

    def decode(self, parts: Sequence[Images], form: ImageForm) -> list[tuple[Split, dict[int, str]]]:
        """Decode the images of each part in a form.

        :returns: for each part the split of those that can be read, and the reasons of the others: {index: reason}.
        :raises DataError: if they are too many for the disk and the memory.
        """
        n_images = sum(map(len, parts))
        n_bytes = n_images * form.size[0] * form.size[1] * form.channels
        reason = None
        if n_images >= CACHED_FILES or n_bytes >= CACHED_BYTES:
            try:
                return self._decode_into_cache(parts, form)
            except CacheError as error:
                reason = error
                log_without_cache(error)
        check_memory(n_bytes, reason)
        return [self._decode_into_memory(part, form) for part in parts]

    def _decode_into_cache(self, parts: Sequence[Images], form: ImageForm) -> list[tuple[Split, dict[int, str]]]:
        files = [file for part in parts for file in part.files]
        hashes = np.concatenate([part.hashes for part in parts])
        stored = ImageCache(self.source).decode(files, hashes, self.listed, form, self.ink)
        starts = accumulate(map(len, parts), initial=0)
        return [_stored_split(part, stored, start) for part, start in zip(parts, starts, strict=False)]

    def _decode_into_memory(self, part: Images, form: ImageForm) -> tuple[Split, dict[int, str]]:
        images, failures = decode_images(part.files, form, self.ink)
        kept = part.take(_without(part, failures))
        return Split(images, kept.labels, [file.name for file in kept.files], kept.hashes), failures


def scan_files(files: Sequence[ImageFile], source: str, options: LoadOptions) -> Scans:
    """Return the scans of the files of a source, which the cache keeps where there are many.

    :param source: the absolute path of the source, or its name on the hub.
    """
    if len(files) < CACHED_FILES:
        return scan_images(files, options.max_pixels)
    return ImageCache(source).scan(files, options.max_pixels, partial(_foresee_form, files, options), options.ink)


def _foresee_form(files: Sequence[ImageFile], options: LoadOptions) -> ImageForm | None:
    """Return the form that all images will probably have; None if not all will be needed, or their size is unknown."""
    if options.image_size is None or options.samples is not None or options.max_test is not None:
        return None
    channels = options.channels or (1 if scan_images(files[:1], options.max_pixels)[0].is_gray else 3)
    return ImageForm(options.image_size, channels, options.fit, options.value_range, options.max_pixels)


def _stored_split(part: Images, stored: StoredImages, start: int) -> tuple[Split, dict[int, str]]:
    """Return the split of stored images, the first of which has the index ``start`` among them."""
    failures = {index - start: text for index, text in stored.failures.items() if 0 <= index - start < len(part)}
    indices = _without(part, failures)
    kept = part.take(indices)
    rows, sums = stored.rows[start + indices], stored.sums[start + indices]
    names = [file.name for file in kept.files]
    return Split(stored.pixels, kept.labels, names, kept.hashes, rows, sums, stored.check), failures


def _without(part: Images, failures: Mapping[int, str]) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(len(part)), list(failures)).astype(np.int64)
