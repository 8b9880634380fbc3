"""The live page of a run: one HTML file in which its network computes, learns and can be taken apart, offline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassnet.errors import ConfigError, GlassnetError, RunError, class_error
from glassnet.explorer.page import render_page
from glassnet.explorer.payload import build_payload
from glassnet.files import write_atomically
from glassnet.layer_graph import parameter_count
from glassnet.measures.live_page import LIVE_PAGE, MAX_PARAMETERS, MAX_SIDE, fits_live_page

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model

__all__ = ["Explorer", "write_explorer"]


@dataclass(frozen=True, repr=False)
class Explorer:
    """The live page of a run, written at ``path``; ``missing`` says why it has no images, empty if it has some."""

    path: Path
    title: str
    missing: str = ""

    def __repr__(self) -> str:
        return f"Explorer({self.title}: {self.path})"


def write_explorer(model: Model, dataset: Dataset | None = None, output: Path | None = None) -> Explorer:
    """Write the live page of a run: one HTML file that opens offline and holds images of the data.

    :param model: a run as ``glassnet.load`` returns it.
    :param dataset: its data; by default loaded again from the source that the run recorded. If that fails, the page has
        no images, and says why.
    :param output: the file to write; by default ``explore.html`` in the run folder. An older page is replaced.
    :raises ConfigError: if the network or its images are too large for a page.
    :raises DataError: if the dataset has other classes than the run.
    :raises RunError: if the file cannot be written.
    """
    _check_size(model)
    path = model.path / LIVE_PAGE if output is None else output
    if not path.parent.is_dir():
        raise RunError(f"{path.parent} must be a folder to write the page into. Got no such folder.")
    missing = ""
    if dataset is None:
        try:
            dataset = model.load_dataset()
        except GlassnetError as error:
            missing = _why_no_images(model, error)
    elif dataset.classes != model.classes:
        raise class_error(model.classes, dataset.classes)
    title = _title(model)
    html = render_page(title, build_payload(model, dataset, missing)).encode("utf-8", errors="replace")
    try:
        write_atomically(path, html)
    except OSError as error:
        raise RunError(f"The page {path} cannot be written: {error.strerror or error}.") from error
    return Explorer(path, title, missing)


def _why_no_images(model: Model, error: GlassnetError) -> str:
    source = Path(model.config["data"]["source"])
    if source.is_absolute() and not source.exists():
        return f"The page has no images: {source} is not there any more. Pass the data from where it is now (--data)."
    return f"The page has no images of the run. {error}"


def _title(model: Model) -> str:
    source = Path(model.config["data"]["source"]).name
    data = "" if source in ("arrays", "imported") else f" on {source}"
    return f"{model.network.spec.preset}{data}: run {model.path.resolve().name}"


def _check_size(model: Model) -> None:
    spec = model.network.spec
    if not fits_live_page(spec):
        height, width = spec.size
        raise ConfigError(
            f"{model.path} must have at most {MAX_PARAMETERS:,} parameters and images of {MAX_SIDE}×{MAX_SIDE} pixels "
            f"for a live page. Got {parameter_count(spec):,} parameters and images of {height}×{width}. Use glassnet "
            "report."
        )
