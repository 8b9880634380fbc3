from glassnet.pages.page import Code, render
from glassnet.studies import convolution


def test_build_page_shows_the_definition(study: convolution.ConvolutionStudy) -> None:
    page = convolution.build_page(study)
    (code,) = (block for section in page.sections for block in section.blocks if isinstance(block, Code))
    assert code.text.startswith("def convolution(")
    assert "for v in range(kw):" in render(page)
