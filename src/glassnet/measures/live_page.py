"""The live page of a run, for those that refer to it: its file, and which networks are small enough for it."""

from __future__ import annotations

from glassnet.architecture import ResNetSpec
from glassnet.layer_graph import parameter_count

LIVE_PAGE = "explore.html"  # in the run folder
MAX_PARAMETERS = 1_000_000
MAX_SIDE = 64  # pixels


def fits_live_page(spec: ResNetSpec) -> bool:
    """Return whether a network is small enough: at most MAX_PARAMETERS, and images of at most MAX_SIDE×MAX_SIDE."""
    return max(spec.size) <= MAX_SIDE and parameter_count(spec) <= MAX_PARAMETERS
