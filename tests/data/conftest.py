import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """The folder of data that lies beside the checkout, for tests that need real pictures."""
    folder = Path(os.environ.get("GLASSNET_SHARED", Path(__file__).parents[2] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set GLASSNET_SHARED to the folder of shared data")
    return folder
