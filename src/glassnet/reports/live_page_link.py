"""The link from a report to the live page of its run."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from glassnet.measures.live_page import LIVE_PAGE, fits_live_page
from glassnet.pages.page import Page

if TYPE_CHECKING:
    from glassnet.training import Model


def with_live_page(page: Page, model: "Model", path: Path) -> Page:
    """Return the report with a link to the run's live page, or with the command that writes one.

    A network too large for a live page has neither.

    :param path: the file of the report; the link is to a page beside it in the run folder.
    """
    if not fits_live_page(model.network.spec):
        return page
    live = Path(model.path) / LIVE_PAGE
    if live.is_file() and path.parent.resolve() == live.parent.resolve():
        return replace(page, links=[("The live page, in which this network computes and learns", LIVE_PAGE)])
    sentence = (
        f"A live page, in which this network computes and learns: glassnet explore {shlex.quote(str(model.path))}"
    )
    return replace(page, summary=[*page.summary, sentence])
