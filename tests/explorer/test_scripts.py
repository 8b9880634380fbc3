import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from glassnet.explorer.page import engine_source, page_scripts


@pytest.mark.parametrize("scripts", [{"engine": engine_source()}, page_scripts()], ids=["engine", "page"])
def test_scripts_share_one_scope_without_declaring_a_name_twice(scripts: Mapping[str, str], tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is missing; it parses the scripts")
    joined = tmp_path / "joined.js"
    joined.write_text("\n".join(scripts.values()))

    checked = subprocess.run(["node", "--check", joined], capture_output=True, text=True, check=False)

    assert not checked.returncode, checked.stderr
