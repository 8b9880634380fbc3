"""The images of a run, as ``images.csv.gz`` keeps them: what they were used for, and how they can be recognized.

The content hashes tell which images another run trained on, and what changed in a data source since.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from glassnet.data import Dataset, Split
from glassnet.data.splitting import HASH_BYTES
from glassnet.errors import DataError
from glassnet.formats import agree

ANCESTOR = "ancestor"  # images of the runs that the initial weights come from
_TRAINED = ("train", "validation", ANCESTOR)
_MAX_NAMES = 3


class ImageRow(NamedTuple):
    """One image: its split, the name of its class, its own name ("" without one) and its content hash as hex."""

    split: str
    label: str
    name: str
    hash: str


@dataclass(frozen=True)
class ImageTable:
    """The images of a run, one row each."""

    rows: tuple[ImageRow, ...] = ()

    @classmethod
    def from_splits(cls, data: Dataset, train: Split, validation: Split | None, ancestors: ImageTable) -> ImageTable:
        """Return the table of a run.

        :param train: the images that its steps use.
        :param validation: those that choose its best epoch.
        :param ancestors: the table of the run that it starts from; its training images are kept as such.
        """
        rows: list[ImageRow] = []
        for name, split in (("train", train), ("validation", validation), ("test", data.test)):
            if split is not None:
                rows += _split_rows(name, split, data.classes)
        own = {row.hash for row in rows if row.split in _TRAINED}
        rows += [row for row in ancestors.as_ancestors().rows if row.hash not in own]
        return cls(tuple(rows))

    @classmethod
    def parse(cls, content: bytes) -> ImageTable:
        """Return the table that ``to_bytes`` wrote.

        :raises DataError: if these are other or damaged bytes.
        """
        try:
            text = gzip.decompress(content).decode("utf-8", "surrogatepass")
            header, *lines = csv.reader(io.StringIO(text, newline=""))
            if tuple(header) != ImageRow._fields:
                raise ValueError(f"the columns {', '.join(header)}")
            rows = tuple(ImageRow(*line) for line in lines)
            if any(len(bytes.fromhex(row.hash)) != HASH_BYTES for row in rows):
                raise ValueError("a hash of another length")
        except (OSError, EOFError, zlib.error, csv.Error, ValueError, TypeError) as error:
            raise DataError(str(error)) from None
        return cls(rows)

    def to_bytes(self) -> bytes:
        """Return the table as compressed CSV, the same bytes for the same rows."""
        content = io.BytesIO()
        with (
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=content, mtime=0) as packed,
            io.TextIOWrapper(packed, "utf-8", "surrogatepass", newline="") as text,
        ):
            writer = csv.writer(text)  # in the form of RFC 4180, which quotes a line end in a name
            writer.writerow(ImageRow._fields)
            writer.writerows(self.rows)
        return content.getvalue()

    @cached_property
    def trained_hashes(self) -> frozenset[str]:
        """The hashes of all images that took part in a training: those of its steps, and those that chose an epoch."""
        return frozenset(row.hash for row in self.rows if row.split in _TRAINED)

    def as_ancestors(self) -> ImageTable:
        """Return the table for a run that starts from this one's weights: each image that was trained on, once."""
        trained = {row.hash: row._replace(split=ANCESTOR) for row in self.rows if row.split in _TRAINED}
        return ImageTable(tuple(trained.values()))

    def ancestors(self) -> ImageTable:
        """Return the rows of the images that the initial weights were trained on."""
        return ImageTable(tuple(row for row in self.rows if row.split == ANCESTOR))

    def count_trained(self, split: Split) -> int:
        """Return how many images of a split took part in the run's training, or in one that it started from."""
        return sum(content in self.trained_hashes for content in _hex_hashes(split))

    def is_mostly_in(self, split: Split) -> bool:
        """Return whether more than half of the images that this run itself trained on are in a split."""
        own = {row.hash for row in self.rows if row.split in _TRAINED and row.split != ANCESTOR}
        return 2 * len(own & {row.tobytes().hex() for row in split.hashes}) > len(own)

    def has_same_images(self, other: ImageTable) -> bool:
        """Return whether both runs have the same images to train on and to test on; files may have other names."""
        mine, theirs = (
            Counter((row.split == "test", row.label, row.hash) for row in table.rows if row.split != ANCESTOR)
            for table in (self, other)
        )
        return mine == theirs

    def describe_changes(self, data: Dataset) -> str:
        """Return how the images of the data differ from these: ``3 images added (a.png, ...), 1 removed (d.png)``.

        Neither the order of the images counts nor which of the training images were drawn for validation.
        """
        rows = [row for row in self.rows if row.split != ANCESTOR]
        if data.validation is None:
            rows = [row._replace(split="train") if row.split == "validation" else row for row in rows]
        now = self.from_splits(data, data.train, data.validation, ImageTable())
        before, after = Counter(rows), Counter(now.rows)
        removed, added = list((before - after).elements()), list((after - before).elements())
        same = _match(removed, added, "hash")
        changed = _match(removed, added, "name")
        relabelled = [pair for pair in same if pair[0].label != pair[1].label]
        moved = [(old, new) for old, new in same if old.label == new.label and old.split != new.split]
        renamed = [(old, new) for old, new in same if (old.label, old.split) == (new.label, new.split)]
        parts = {
            "added": sorted(row.name for row in added),
            "removed": sorted(row.name for row in removed),
            "changed": sorted(old.name for old, _ in changed),
            "of another class": [f"{new.name or 'one'}: {old.label}, now {new.label}" for old, new in relabelled],
            "in another split": [f"{new.name or 'one'}: {old.split}, now {new.split}" for old, new in moved],
            "renamed": [f"{old.name}, now {new.name}" for old, new in renamed],
        }
        found = {what: names for what, names in parts.items() if names}
        return _join(found) or "the same images in another order, or with other pixels after decoding"


def _split_rows(name: str, split: Split, classes: Sequence[str]) -> Iterable[ImageRow]:
    names = split.names or [""] * len(split)
    for image_name, label, content in zip(names, split.labels.tolist(), _hex_hashes(split), strict=True):
        yield ImageRow(name, classes[label], image_name, content)


def _hex_hashes(split: Split) -> list[str]:
    text, step = split.hashes.tobytes().hex(), 2 * HASH_BYTES
    return [text[start : start + step] for start in range(0, len(text), step)]


def _match(removed: list[ImageRow], added: list[ImageRow], key: str) -> list[tuple[ImageRow, ImageRow]]:
    """Take the rows with the same value of ``key`` out of both lists, and return them in pairs."""
    candidates = defaultdict(list)
    for index in reversed(range(len(added))):
        candidates[getattr(added[index], key)].append(index)
    candidates.pop("", None)  # images without names
    pairs, unmatched, taken = [], [], set()
    for row in removed:
        if matches := candidates.get(getattr(row, key)):
            index = matches.pop()
            taken.add(index)
            pairs.append((row, added[index]))
        else:
            unmatched.append(row)
    removed[:] = unmatched
    added[:] = [row for index, row in enumerate(added) if index not in taken]
    return pairs


def _join(parts: dict[str, list[str]]) -> str:
    """Return counts, and the first names of each part; the first part alone has the word images."""
    texts: list[str] = []
    for what, names in parts.items():
        unit = "" if texts else agree(len(names), " image", " images")
        shown = [name for name in names if name][:_MAX_NAMES]
        dots = ", ..." if shown and len(names) > len(shown) else ""
        examples = f" ({', '.join(shown)}{dots})" if shown else ""
        texts.append(f"{len(names):,}{unit} {what}{examples}")
    return ", ".join(texts)
