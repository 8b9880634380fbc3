import logging
import sys
from unittest.mock import Mock

import pytest

from glassnet.data import load_data
from glassnet.data.files import hub
from glassnet.data.files.hub import is_hub_name, is_saved, list_hub, list_saved
from glassnet.errors import DataError
from tests.data.files.test_image_rows import images, png

datasets = pytest.importorskip("datasets")
huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def data():
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog", "unused"]))
    return datasets.Dataset.from_dict({"image": images(6), "label": [0, 1] * 3}, features=features)


@pytest.fixture
def online(monkeypatch):
    """A hub that answers, and what it was asked for."""
    asked = []
    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda self, name, timeout: asked.append((name, timeout))
    )
    return asked


@pytest.fixture
def offline(monkeypatch):
    def raise_error(self, name, timeout):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", raise_error)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("uoft-cs/cifar10", True),
        ("hf:mnist", True),
        ("hf:owner/name:config", True),
        ("digits", False),
        ("./owner/name", False),
        ("../owner", False),
        ("/owner/name", False),
        ("a/b/c", False),
        ("a\\b/c", False),
        ("tests/name", False),  # tests exists
        ("owner/", False),
    ],
)
def test_is_hub_name(source, expected):
    assert is_hub_name(source) == expected


def test_list_saved_reads_a_data_set_and_its_splits(tmp_path, data, capfd):
    data.select([3, 1, 5]).save_to_disk(tmp_path / "a")
    datasets.DatasetDict(train=data, validation=data.select([0, 1]), extra=data).save_to_disk(tmp_path / "b")
    capfd.readouterr()
    listing = list_saved(tmp_path / "a")
    assert [file.read() for file in listing.files] == [png(3), png(1), png(5)]
    assert (listing.labels, listing.classes, listing.splits) == (["dog"] * 3, ["dog"], None)
    listing = list_saved(tmp_path / "b")
    assert listing.splits == ["train"] * 6 + ["validation"] * 2
    assert listing.classes == ["cat", "dog"]
    assert listing.notes == ("Splits for none of train, val and test were left out: extra.",)
    assert capfd.readouterr() == ("", "")
    assert is_saved(tmp_path / "a")
    assert is_saved(tmp_path / "b")
    assert not is_saved(tmp_path)


def test_list_saved_raises_for_a_damaged_folder(tmp_path, data):
    data.save_to_disk(tmp_path / "a")
    (tmp_path / "a/state.json").write_text("{")
    with pytest.raises(DataError, match=r"a must be undamaged Arrow or Parquet data. Got: "):
        list_saved(tmp_path / "a")


def test_list_hub_reads_a_data_set(monkeypatch, online, data, capfd):
    loaded = []

    def load_dataset(name, config):
        loaded.append((name, config, datasets.config.HF_HUB_OFFLINE))
        assert datasets.are_progress_bars_disabled()
        assert not logging.getLogger("datasets.load").isEnabledFor(logging.ERROR)
        return datasets.DatasetDict(test=data, train=data)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    listing = list_hub("hf:owner/name:small")
    assert (online, loaded) == ([("owner/name", 5)], [("owner/name", "small", False)])
    assert listing.splits == ["test"] * 6 + ["train"] * 6
    assert listing.notes == ()
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()


def test_list_hub_uses_the_cache_without_a_network(monkeypatch, offline, data):
    before = datasets.config.HF_HUB_OFFLINE
    seen = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: seen.append(datasets.config.HF_HUB_OFFLINE) or data)
    assert list_hub("owner/name").notes == ("huggingface.co could not be reached: owner/name is from the cache.",)
    assert (seen, datasets.config.HF_HUB_OFFLINE) == ([True], before)


def test_load_data_loads_a_data_set_of_the_hub_again(monkeypatch, online, data):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict(train=data, test=data))
    loaded = load_data("owner/name")
    assert (len(loaded.train), len(loaded.test), loaded.classes) == (6, 6, ["cat", "dog"])
    assert loaded.source["source"] == "owner/name"
    again = load_data(**loaded.source)
    assert (again.train.images == loaded.train.images).all()
    assert again.train.names == loaded.train.names == tuple(f"train/{i}.png" for i in range(6))


def test_load_data_loads_saved_data_and_parquet_files(tmp_path, data, capfd):
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    data.to_parquet(tmp_path / "files/train.parquet")
    data.to_parquet(tmp_path / "files/test.parquet")
    capfd.readouterr()
    for name in ("saved", "files"):
        loaded = load_data(tmp_path / name)
        assert (len(loaded.train), len(loaded.test), loaded.classes) == (6, 6, ["cat", "dog"])
        assert loaded.notes == []
    alone = load_data(tmp_path / "files/test.parquet", test_size=1)
    assert (len(alone.test), alone.test.images[:, 0, 0, 0].tolist()) == (6, list(range(6)))
    assert capfd.readouterr() == ("", "")


def test_list_hub_raises_without_a_network(offline, capfd):
    message = (
        r"source must be a readable folder or file, or a data set of the Hugging Face hub. Got 'owner/no-such-data': "
    )
    with pytest.raises(DataError, match=message + "no such file here, and huggingface.co cannot be reached."):
        list_hub("owner/no-such-data")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("RepositoryNotFoundError", "Dataset 'owner/name' doesn't exist"),
        ("HfHubHTTPError", "no such file here, and huggingface.co cannot be reached."),  # of a gateway
    ],
)
def test_list_hub_tells_a_missing_data_set_from_a_missing_network(monkeypatch, error, reason):
    def raise_error(self, name, timeout):
        raise huggingface_hub.errors.__dict__[error]("404", response=Mock())

    def load_dataset(name, config):
        offline = datasets.config.HF_HUB_OFFLINE
        raise ConnectionError("offline") if offline else FileNotFoundError("Dataset 'owner/name' doesn't exist.")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", raise_error)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=f"Got 'owner/name': {reason}"):
        list_hub("owner/name")


def test_list_hub_raises_with_the_reason_of_the_library(monkeypatch, online):
    def load_dataset(name, config):
        raise ValueError("Config name is missing.\nPick one of ['a', 'b'].")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"Got 'hf:name': Config name is missing. Pick one of \['a', 'b'\]."):
        list_hub("hf:name")


def test_list_hub_raises_for_a_folder_of_this_name(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="Got 'hf:mnist': mnist is a file or folder here; without hf: it is read."):
        list_hub("hf:mnist")


def test_list_hub_raises_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"Got 'a/b': the library datasets is missing; pip install 'glassnet\[hub\]'."):
        hub.list_hub("a/b")
