import json

import pytest

from tests.calls import caller
from tests.data.cached_photos import cache_photos


@pytest.fixture
def glassnet(monkeypatch, capsys):
    """``glassnet cache ...`` in this process: exit code, stdout, stderr."""
    return caller(monkeypatch, capsys, "cache")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    cache_photos(monkeypatch, tmp_path, sizes=[8])
    return tmp_path / "photos"


def test_cache_list_shows_each_source(photos, tmp_path, glassnet):
    code, out, _ = glassnet("list")
    assert code == 0
    row, total = out.splitlines()[1:]
    assert row.split()[:4] == [str(photos), "20", "of", "8×8×3"]
    assert total.startswith(f"{tmp_path / 'cache'}: ")
    (source,) = json.loads(glassnet("list", "--json")[1])["sources"]
    assert (source["source"], source["images"], source["is_there"]) == (str(photos), {"8×8×3": 20}, True)


def test_cache_prune_says_what_it_removed(photos, glassnet):
    assert glassnet("prune")[1] == "Nothing was removed.\n"
    assert glassnet("prune", "--all")[1].startswith(f"Removed {photos}: ")
    assert json.loads(glassnet("prune", "--json")[1]) == {"removed": []}
    assert glassnet("verify")[1] == "The cache is empty.\n"


def test_cache_verify_fails_for_damaged_images(photos, tmp_path, glassnet):
    assert glassnet("verify") == (0, f"{photos}: 20 decoded images, 0 damaged; 20 files read, 0 changed\n", "")
    (pixels,) = (tmp_path / "cache").glob("*/8x8*/pixels")
    content = bytearray(pixels.read_bytes())
    content[200] ^= 1
    pixels.write_bytes(content)
    code, out, err = glassnet("verify")
    assert code == 1
    assert "20 decoded images, 1 damaged" in out
    assert f"Got damaged or changed images of {photos}. They are decoded again when they are next used." in err
