"""The layout of folders: the class and the split of each file, from the names alone.

A single folder around everything is passed through. Then come folders of splits (train, val, test) with class folders
in them, class folders with folders of splits in them, or class folders alone; below them are any others.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import compress

from glassnet.data.files.listing import name_some
from glassnet.errors import DataError

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

Path = tuple[str, ...]  # the parts of a name


@dataclass(frozen=True)
class Layout:
    """The places of files in a layout.

    Attributes: ``labels``, the class name of each file, or None outside the class folders; ``splits``, the word for
    the split of each file, or None; ``empty``, class folders without a file, but for those of val and test;
    ``notes``, sentences for the user.
    """

    labels: list[str | None]
    splits: list[str | None]
    empty: list[str]
    notes: tuple[str, ...] = ()


def split_role(word: str) -> str | None:
    """Return train, val or test for a word that stands for it, such as Validation or test_images, or else None."""
    return _SPLITS.get(re.sub("[ _-]?(set|data|images)$", "", word.strip().lower()))


def read_layout(
    source: str,
    names: Sequence[str],
    is_image: Sequence[bool],
    empty_folders: Sequence[str] = (),
    known: Collection[str] = (),
) -> Layout:
    """Return the layout of files.

    :param source: the folder or the archive, for errors.
    :param names: paths of the files, relative to the source, with "/".
    :param is_image: whether each one is an image by its name. Others follow the folders that images are in.
    :param known: class names, which a folder around everything cannot have.
    :raises DataError: if the folders contradict each other.
    """
    parents = [name.rpartition("/")[0] for name in names]
    paths = {parent: tuple(parent.split("/")) if parent else () for parent in set(parents)}
    with_images = Counter(compress(parents, is_image)) or Counter(parents)
    folders = _Folders({paths[parent]: count for parent, count in with_images.items()})
    classes = {*map(str.casefold, known)}
    root = folders.pass_through((), {*classes, *_SPLITS})
    splits = [name for name in folders.children[root] if split_role(name) and folders.is_nested((*root, name))]
    is_class_first = not splits and _is_class_first(source, folders, root)
    roots: dict[Path, str | None] = {root: None}  # the folders of class folders, and the split of each
    if splits:
        roots = _split_roots(source, folders, root, splits, classes)
    elif not is_class_first and all(map(split_role, folders.children[root])):
        roots = {}  # images in train and test without class folders
    place_of = {parent: _place(path, roots, is_class_first) for parent, path in paths.items()}
    places = [place_of[parent] for parent in parents]
    empty = [name for name in empty_folders if _is_class_to_train(tuple(name.split("/")), roots)]
    notes = _note_doubts(folders, root) if roots == {root: None} and not is_class_first else ()
    return Layout([label for label, _ in places], [split for _, split in places], empty, notes)


class _Folders:
    """The folders that images are in, and the number of images directly in each and in all.

    :param direct: the number of images directly in each folder that has some.
    """

    def __init__(self, direct: dict[Path, int]) -> None:
        self.direct = Counter(direct)
        self.total: Counter[Path] = Counter()
        self.children: defaultdict[Path, dict[str, None]] = defaultdict(dict)
        for folder, count in self.direct.items():
            for depth, name in enumerate(folder):
                self.total[folder[:depth]] += count
                self.children[folder[:depth]][name] = None
            self.total[folder] += count

    def is_nested(self, folder: Path) -> bool:
        """Return whether most of the folder's images are in folders inside it."""
        return self.total[folder] > 2 * self.direct[folder]

    def pass_through(self, folder: Path, kept: Collection[str]) -> Path:
        """Return the folder that is reached through single folders, but those of casefolded names to be kept."""
        while len(names := self.children[folder]) == 1:
            (name,) = names
            if name.casefold() in kept or not self.children[*folder, name]:
                break
            folder = (*folder, name)
        return folder


def _split_roots(
    source: str, folders: _Folders, root: Path, splits: Sequence[str], classes: set[str]
) -> dict[Path, str | None]:
    """Return the folder of class folders of each split.

    :param classes: class names, casefolded, which a folder around the class folders cannot have.
    """
    if others := [name for name in folders.children[root] if not split_role(name)]:
        raise DataError(
            f"{source} must have no folders of images but train, val and test where there is one of these. "
            f"Got {name_some(others)} beside {name_some(splits)}. Move or rename them."
        )
    roots: dict[Path, str | None] = {}
    words: dict[str, str] = {}
    for word in sorted(splits, key=lambda name: split_role(name) != "train"):
        if other := words.get(role := str(split_role(word))):
            raise DataError(f"{source} must have one folder for {role}. Got {other} and {word}.")
        words[role] = word
        top = folders.pass_through((*root, word), classes)
        roots[top] = word
        classes = classes | {*map(str.casefold, folders.children[top])}
    return roots


def _is_class_first(source: str, folders: _Folders, root: Path) -> bool:
    """Return whether the images of each class are in folders of splits.

    :raises DataError: if those of some classes are.
    """
    divided: list[str] = []
    whole: list[str] = []
    for name in folders.children[root]:
        folder = (*root, name)
        is_divided = not folders.direct[folder] and all(map(split_role, folders.children[folder]))
        (divided if is_divided else whole).append(name)
    if divided and whole:
        raise DataError(
            f"{source} must have train and test in each of the class folders or in none. "
            f"Got them in {name_some(divided)}, but not in {name_some(whole)}."
        )
    return bool(divided)


def _place(folder: Path, roots: dict[Path, str | None], is_class_first: bool) -> tuple[str | None, str | None]:
    """Return the class of the files in a folder, and the word for their split; None outside the class folders."""
    for root, word in roots.items():
        depth = len(root)
        if folder[:depth] != root or len(folder) <= depth + is_class_first:
            continue
        if not is_class_first:
            return folder[depth], word
        if split_role(folder[depth + 1]):
            return folder[depth], folder[depth + 1]
    return None, None


def _is_class_to_train(folder: Path, roots: dict[Path, str | None]) -> bool:
    parent = folder[:-1]
    return parent in roots and split_role(roots[parent] or "train") == "train"


def _note_doubts(folders: _Folders, root: Path) -> tuple[str, ...]:
    """Return notes on folders taken for classes that may be splits: by their names, or as each has the same folders."""
    names, notes = list(folders.children[root]), []
    if words := list(filter(split_role, names)):
        notes.append(
            f"Taken for classes, as there are images and no class folders in them: {name_some(words)}. "
            "If their images are not to be trained on, move them away."
        )
    inside = {frozenset(folders.children[*root, name]) for name in names if not folders.direct[*root, name]}
    if len(names) > 1 and len(inside) == 1 and len(same := sorted(*inside)) > 1:
        notes.append(
            f"{name_some(names)} are taken for classes, and each has the folders {name_some(same)}. If they are parts "
            "for training and testing, name them train, val and test."
        )
    return tuple(notes)
