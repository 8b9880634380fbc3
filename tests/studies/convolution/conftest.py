import pytest

from glassnet.studies import convolution


@pytest.fixture(scope="session")
def study() -> convolution.ConvolutionStudy:
    return convolution.run_study()
