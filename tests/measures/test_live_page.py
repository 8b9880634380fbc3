import pytest

import glassnet as gn
from glassnet.architecture import PRESETS
from glassnet.measures.live_page import fits_live_page


def test_fits_live_page_takes_the_presets_up_to_resnet56() -> None:
    fitting = [name for name in PRESETS if fits_live_page(gn.spec(name))]
    assert fitting == ["tiny", "tiny-bn", "resnet20", "resnet32", "resnet44", "resnet56"]


@pytest.mark.parametrize(("size", "fits"), [((64, 8), True), ((8, 65), False)])
def test_fits_live_page_looks_at_the_longer_side(size: tuple[int, int], fits: bool) -> None:
    assert fits_live_page(gn.spec("resnet20", image_size=size)) is fits
