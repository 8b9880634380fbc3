import numpy as np
import pytest

from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.record_file import RecordFile
from glassnet.data.cache.scan_store import ScanStore
from glassnet.data.cache.scanning import Scanning
from glassnet.data.images.scan import scan_images
from glassnet.progress import show_progress
from tests.data.cache.filled_store import fill_store
from tests.recorded_log import Log


@pytest.fixture
def files(tmp_path, monkeypatch):
    return fill_store(tmp_path, monkeypatch)[1]


def start(files):
    return Scanning(ScanStore(SourceFolder.of("photos"), max_pixels=1000), files)


def test_scanning_keeps_what_is_added(files):
    scanning = start(files)
    scanning.add(np.array([0]), scan_images(files[:1]))  # not kept: the folder may be another process's
    scanning.keep()
    assert scanning.missing().tolist() == [0, 1, 2]
    scanning.add(np.array([2, 0]), scan_images([files[2], files[0]]))
    assert scanning.missing().tolist() == [1]
    again = start(files)
    assert again.missing().tolist() == [1]
    assert again.scans.records.tobytes() == scanning.scans.records.tobytes()
    assert again.scans.hashes[[0, 2]].tolist() == scan_images(files).hashes[[0, 2]].tolist()


def test_scanning_goes_on_where_scans_cannot_be_written(files, monkeypatch):
    def fail(self, records):
        raise OSError(28, "No space left on device")

    scanning, log = start(files), Log()
    scanning.keep()
    monkeypatch.setattr(RecordFile, "append", fail)
    with show_progress(log):
        for index in range(3):
            scanning.add(np.array([index]), scan_images(files[index : index + 1]))
    assert len(scanning.missing()) == 0
    (line,) = log.lines
    assert "No space left on device" in line
