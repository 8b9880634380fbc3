"""Data sets of the Hugging Face hub, and those that its library `datasets` saved to disk."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassnet.data.files.image_rows import BATCH_ROWS, Part, damage_error, list_rows
from glassnet.data.files.layout import split_role
from glassnet.data.files.listing import Listing, name_some
from glassnet.errors import DataError
from glassnet.progress import current_progress

if TYPE_CHECKING:
    import pyarrow

_PREFIX = "hf:"
_UNREACHABLE = "no such file here, and huggingface.co cannot be reached"
_TIMEOUT = 5  # seconds, to reach the hub


def is_hub_name(source: str) -> bool:
    """Return whether a source is written as a name on the hub: owner/name, or hf: before that or name:config.

    Without hf: it is meant as a path where the first folder of that path exists.
    """
    owner, _, name = source.partition("/")
    is_plain = all(re.fullmatch(r"\w[\w.-]*", part) for part in (owner, name)) and not Path(owner).exists()
    return is_plain or source.startswith(_PREFIX)


def list_hub(source: str) -> Listing:
    """List the images of a data set on the hub, or in the cache of `datasets` where the hub cannot be reached.

    :raises DataError: if there is none of this name, it has no images and labels, or `datasets` is missing.
    """
    name, _, config = source.removeprefix(_PREFIX).partition(":")
    if Path(name).exists():  # which `datasets` would read instead
        raise _source_error(source, f"{name} is a file or folder here; without {_PREFIX} it is read")
    with _quiet_datasets(source) as datasets:
        current_progress().log(f"loading {name} from the Hugging Face hub")
        is_online = _is_online(name)
        try:
            data = _load(datasets, name, config or None, is_online)
        except Exception as error:  # the library raises what its parts raise
            is_missing = isinstance(error, ConnectionError) and not is_online
            raise _source_error(source, _UNREACHABLE if is_missing else error) from error
        listing = _list_splits(source, data, Path(datasets.config.HF_CACHE_HOME))
    cached = () if is_online else (f"huggingface.co could not be reached: {name} is from the cache.",)
    return replace(listing, notes=(*listing.notes, *cached))


def _is_online(name: str) -> bool:
    """Return whether the hub answers, be it that it has no data set of this name."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(name, timeout=_TIMEOUT)
    except (HFValidationError, RepositoryNotFoundError):
        return True
    except Exception:  # of the HTTP library, or the answer of a gateway
        return False
    return True


def _load(datasets: Any, name: str, config: str | None, is_online: bool) -> Any:
    """Load a data set. Where the hub cannot be reached, the library would try for half a minute: it is told so."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = not is_online
    try:
        return datasets.load_dataset(name, config)
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def is_saved(folder: Path) -> bool:
    """Return whether a folder was written by ``save_to_disk`` of `datasets`."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def list_saved(folder: Path) -> Listing:
    """List the images of a folder that was written by ``save_to_disk``.

    :raises DataError: if it is damaged, has no images and labels, or `datasets` is missing.
    """
    with _quiet_datasets(str(folder)) as datasets:
        try:
            data = datasets.load_from_disk(str(folder))
        except Exception as error:  # of JSON, Arrow or the library itself
            raise damage_error(folder, error) from error
        return _list_splits(str(folder), data, None)


def _list_splits(source: str, data: Any, files_below: Path | None) -> Listing:
    """List the images of a data set or of the splits of one. Splits for none of train, val and test are left out."""
    splits = {**data} if isinstance(data, dict) else {None: data}
    known = [word for word in splits if word and split_role(word)]
    others = [str(word) for word in splits if word not in known] if known else []
    parts = [
        Part(
            f"{source} {word or ''}".rstrip(),
            sum(status.st_size for status in _statuses(split)),
            sum(status.st_mtime_ns for status in _statuses(split)),
            word if known else None,
            split.features.arrow_schema,
            partial(_read, split),
        )
        for word, split in splits.items()
        if word in known or not known
    ]
    notes = (f"Splits for none of train, val and test were left out: {name_some(others)}.",) if others else ()
    listing = list_rows(source, parts, files_below)
    return replace(listing, notes=(*listing.notes, *notes))


def _statuses(split: Any) -> Iterator[os.stat_result]:
    return (Path(file["filename"]).stat() for file in split.cache_files)


def _read(split: Any, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    for table in split.select_columns(list(columns)).with_format("arrow").iter(BATCH_ROWS):
        yield from table.to_batches()


@contextmanager
def _quiet_datasets(source: str) -> Iterator[Any]:
    """Import `datasets`, which takes two seconds, and silence its progress bars, its log and its warnings."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            import datasets
            from huggingface_hub import utils
        except ImportError as error:
            raise _source_error(source, "the library datasets is missing; pip install 'glassnet[hub]'") from error
        for name in ("datasets", "huggingface_hub"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        for library in (datasets, utils):
            if not library.are_progress_bars_disabled():
                stack.callback(library.enable_progress_bars)
                library.disable_progress_bars()
        yield datasets


def _source_error(source: str, reason: object) -> DataError:
    text = " ".join(str(reason).split()).rstrip(".")
    return DataError(
        f"source must be a readable folder or file, or a data set of the Hugging Face hub. Got {source!r}: {text}."
    )
