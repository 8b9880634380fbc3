"""The cache as load_data uses it: the same data set as from memory, whatever happens to it."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassnet.data import decoding, load_data
from glassnet.data.cache import image_cache, pixel_store, room
from glassnet.data.cache.folder import SourceFolder
from glassnet.data.cache.pixel_store import PixelStore
from glassnet.data.cache.stored_images import StoredImages
from glassnet.data.files import image_file
from glassnet.data.images import decode_processes
from glassnet.errors import DataError
from glassnet.progress import show_progress
from tests.recorded_log import Log

OPTIONS = {"image_size": 8, "max_unreadable": 0.5}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test alone, for any number of files."""
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "CACHED_FILES", 0)
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    """A folder of images of all kinds: formats, sizes, modes, equal, damaged, empty and none."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 256, (10 + index, 9, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index:02}.{'jpg' if index % 2 else 'png'}")
    shutil.copy(folder / "cat/01.jpg", folder / "cat/same.jpg")
    Image.fromarray(rng.integers(0, 256, (50, 50, 3), np.uint8)).save(folder / "dog/cut.jpg")
    content = (folder / "dog/cut.jpg").read_bytes()
    (folder / "dog/cut.jpg").write_bytes(content[:-100])  # found out when it is decoded
    (folder / "dog/no.jpg").write_bytes(b"text")
    (folder / "dog/empty.png").write_bytes(b"")
    (folder / "dog/notes.txt").write_bytes(b"text")
    return folder


def pack(photos, kind):
    """Return the folder, or the same files in another kind of source."""
    path = photos.parent / f"packed.{kind}"
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    if kind == "folder":
        return photos
    if kind == "csv":
        lines = [f"photos/{file.relative_to(photos)},{file.parent.name}" for file in files]
        path.write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(photos))
    elif kind in ("tar", "tar.gz"):
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(photos, "photos")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        rows = [{"image": {"bytes": file.read_bytes(), "path": file.name}, "label": file.parent.name} for file in files]
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def parts(data):
    """Everything that a data set has, with the pixels."""
    splits = [data.train, data.test, *([data.validation] if data.validation else [])]
    return [
        [(s.images.tobytes(), s.labels.tobytes(), s.names, s.hashes.tobytes(), s.pixel_totals()) for s in splits],
        (data.classes, data.normalization, data.fingerprint, data.notes, data.unreadable_files, data.source),
    ]


def load_from_memory(source, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "CACHED_FILES", 10**9)
        return parts(load_data(source, **OPTIONS | options))


def load(source, **options):
    """Return the parts of the data, and the lines of the log."""
    log = Log()
    with show_progress(log):
        return parts(load_data(source, **OPTIONS | options)), log.lines


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read."""
    names = []
    read_file = image_file.read_file
    monkeypatch.setattr(image_file, "read_file", lambda path: names.append(Path(path).name) or read_file(path))
    return names


@pytest.mark.parametrize("kind", ["folder", "csv", "zip", "tar", "tar.gz", "parquet"])
def test_cache_gives_the_same_data_as_memory(photos, monkeypatch, kind):
    source = pack(photos, kind)
    expected = load_from_memory(source, monkeypatch)
    problems = [line.split(": ")[1] for line in expected[1][4] if "empty" not in line]
    assert problems[0] == "not an image"
    assert "truncated" in problems[1]
    data, log = load(source)
    assert data == expected
    assert [line for line in log if "images are decoded once" in line]
    monkeypatch.setattr(image_cache, "map_in_order", None)  # nothing is scanned or decoded again
    monkeypatch.setattr(image_cache, "work_on_files", None)
    assert load(source) == (expected, [])


@pytest.mark.parametrize("options", [{"channels": 1}, {"fit": "pad"}, {"samples": 10}, {"seed": 3}, {"image_size": 9}])
def test_cache_gives_the_same_data_with_other_options(photos, monkeypatch, options):
    load(photos)
    assert load(photos, **options)[0] == load_from_memory(photos, monkeypatch, **options)
    assert load(photos)[1] == []


def test_cache_decodes_only_the_images_that_are_needed(photos, reads):
    _, log = load(photos, samples=4, test_samples=4)
    assert "images are decoded once" in log[0]
    assert len(reads) <= 29 + 8
    reads.clear()
    data, _ = load(photos, samples=4, test_samples=4, seed=2)
    assert 0 < len(reads) <= 8
    assert load(photos, samples=4, test_samples=4, seed=2) == (data, [])


def test_cache_reads_each_file_once_when_the_form_is_known(photos, reads):
    load(photos)
    assert sorted(reads) == sorted([path.name for path in photos.rglob("*.*")] + ["00.png", "cut.jpg"])
    reads.clear()
    load(photos)
    assert reads == []


def test_cache_gives_deep_images_the_range_of_the_training_images(tmp_path, monkeypatch, reads):
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "deep" / label).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(300, 700, (8, 8)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / f"deep/{label}/{index}.png")
    expected = load_from_memory(tmp_path / "deep", monkeypatch)
    assert load(tmp_path / "deep")[0] == expected
    reads.clear()
    assert load(tmp_path / "deep") == (expected, [])
    assert reads == []


def test_cache_reads_only_what_changed(photos, monkeypatch, reads):
    load(photos)
    shutil.copy(photos / "dog/02.png", photos / "cat/new.png")  # of a content that is known
    Image.new("RGB", (5, 5), "red").save(photos / "dog/00.png")
    (photos / "cat/04.png").unlink()
    reads.clear()
    data, log = load(photos)
    assert sorted(set(reads)) == ["00.png", "new.png"]
    assert log[0].startswith("2 images are decoded once")
    assert data == load_from_memory(photos, monkeypatch)
    os.utime(photos / "cat/05.jpg")
    reads.clear()
    assert load(photos, channels=3)[0][0] == data[0]
    assert reads == ["05.jpg"]


def test_cache_decodes_again_with_another_decoder(photos, monkeypatch, reads):
    expected, _ = load(photos)
    reads.clear()
    monkeypatch.setattr(pixel_store, "decoder_version", lambda: "another")
    assert load(photos)[0] == expected
    assert "00.png" in reads


def test_cache_reads_a_file_again_that_could_not_be_read(photos, monkeypatch):
    expected = load_from_memory(photos, monkeypatch)
    read_file = image_file.read_file

    def fail(path):
        if Path(path).name == "03.jpg":
            raise DataError("no access")
        return read_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_file, "read_file", fail)
        assert load(photos)[0] != expected
    assert load(photos)[0] == expected


def test_cache_decodes_equal_images_once(photos):
    load(photos)
    load(photos, image_size=6)  # the files are known now
    (store,) = (store for store in PixelStore.all_in(SourceFolder.of(str(photos))) if store.form.size == (6, 6))
    keys = store.records.read()[0]["key"]
    assert len(np.unique(keys, axis=0)) == len(keys)


def test_stored_images_raise_where_others_have_taken_their_rows(photos):
    load(photos)
    (store,) = PixelStore.all_in(SourceFolder.of(str(photos)))
    hashes = store.records.read()[0]["key"][:2]
    assert len(StoredImages(store, [], hashes, np.arange(2), {}).rows) == 2
    with pytest.raises(OSError, match="another process has removed images"):
        StoredImages(store, [], hashes[::-1], np.arange(2), {})


def test_cache_starts_anew_when_most_images_are_gone(photos, monkeypatch):
    monkeypatch.setattr("glassnet.data.cache.record_file._SPARE_RECORDS", 5)
    load(photos)
    (store,) = SourceFolder.of(str(photos)).path.glob("8x8x3-*")
    size = (store / "pixels").stat().st_size
    for path in [*photos.glob("*/0[1-9].*"), *photos.glob("*/1*.*")]:
        path.unlink()
    grow(photos, 8)
    Image.new("RGB", (5, 5), "red").save(photos / "dog/red.png")
    Image.new("RGB", (5, 5), "blue").save(photos / "cat/blue.png")
    assert load(photos)[0] == load_from_memory(photos, monkeypatch)
    assert (store / "pixels").stat().st_size < size


def damage_pixels(folder):
    for path in folder.glob("*/pixels"):
        content = bytearray(path.read_bytes())
        content[500] ^= 4
        content[-1] ^= 1
        path.write_bytes(content)


def damage_records(folder):
    for path in [*folder.glob("*/records"), folder / "scans"]:
        content = bytearray(path.read_bytes())
        content[100] ^= 4
        path.write_bytes(content)


def cut_everything(folder):
    for path in [*folder.glob("*/pixels"), *folder.glob("*/records"), folder / "scans", *folder.rglob("problems")]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_pixels(folder):
    for path in folder.glob("*/pixels"):
        path.write_bytes(path.read_bytes()[:400])


def exchange(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "lock":
            path.write_bytes(random.Random(0).randbytes(max(5000, path.stat().st_size)))


def remove_some(folder):
    for path in [*folder.glob("*/records"), folder / "problems"]:
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [damage_pixels, damage_records, cut_everything, cut_pixels, exchange, remove_some],
    ids=lambda f: f.__name__,
)
def test_cache_never_uses_damaged_files(photos, monkeypatch, damage):
    expected, _ = load(photos)
    damage(SourceFolder.of(str(photos)).path)
    data, log = load(photos)
    assert data == expected
    assert log
    monkeypatch.setattr(image_cache, "map_in_order", None)
    assert load(photos) == (expected, [])  # it is mended


def test_cache_raises_for_damage_that_cannot_be_mended(photos):
    data = load_data(photos, **OPTIONS)
    damage_pixels(SourceFolder.of(str(photos)).path)
    for path in photos.rglob("*.*"):
        path.write_bytes(b"another")
    message = (
        r"must be undamaged\. Got damaged pixels of .*, which cannot be decoded again: changed while it was read\. "
        r"Remove the folder and start again\.$"
    )
    with pytest.raises(DataError, match=message):
        [split.pixels(np.arange(len(split))) for split in (data.train, data.test)]


def test_cache_that_is_removed_meanwhile_keeps_its_images(photos):
    data = load_data(photos, **OPTIONS)
    expected = load(photos)[0]
    SourceFolder.of(str(photos)).remove()
    assert parts(data) == expected


def test_cache_lists_files_that_change_while_they_are_read(photos, monkeypatch):
    load(photos, samples=4)  # scanned, but not all decoded
    stamps = {path: path.stat() for path in photos.rglob("*.png")}
    for path, status in stamps.items():
        size = status.st_size
        path.write_bytes(b"x" * size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    data, _ = load(photos, max_unreadable=1)
    assert sum("changed while it was read" in line for line in data[1][4]) > 3
    for path in stamps:
        path.unlink()
    assert "changed" not in str(load(photos)[0][1][4])


# --- where there is no room


def test_cache_that_cannot_be_written_is_not_used(photos, monkeypatch, cache):
    cache.write_bytes(b"a file")
    expected = load_from_memory(photos, monkeypatch)
    data, log = load(photos)
    assert data == expected
    (line,) = log  # for the scans and the images
    assert line.startswith(f"The cache in {cache}")
    assert line.endswith(". Set GLASSNET_CACHE to a folder that is. The images are read without it.")


def test_cache_on_a_full_disk_is_not_used(photos, monkeypatch):
    expected = load_from_memory(photos, monkeypatch)
    monkeypatch.setattr(room, "available_disk", lambda folder: 300 << 20)
    monkeypatch.setattr(room, "_SPARE_DISK", 300 << 20)
    data, log = load(photos)
    assert data == expected
    assert "must have room for" in log[0]
    monkeypatch.setattr(room, "available_memory", lambda: 1000)
    with pytest.raises(DataError, match="Set GLASSNET_CACHE to a folder on another disk. The memory must have room"):
        load(photos)


@pytest.mark.parametrize("n_writes", [0, 1, 2, 5])
def test_cache_on_a_disk_that_becomes_full_is_left(photos, monkeypatch, n_writes):
    expected = load_from_memory(photos, monkeypatch)
    monkeypatch.setattr(image_cache, "FILES_PER_TASK", 4)
    monkeypatch.setattr(decode_processes, "FILES_PER_TASK", 4)
    writes = []
    from glassnet.data.cache.record_file import RecordFile

    append = RecordFile.append

    def fail_later(self, records):
        writes.append(1)
        if len(writes) > n_writes:
            raise OSError(28, "No space left on device")
        append(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(RecordFile, "append", fail_later)
        data, log = load(photos)
    assert data == expected
    assert any("No space left on device" in line for line in log)
    assert load(photos)[0] == expected


# --- several processes

SCRIPT = """
import sys
from glassnet.data import decoding, load_data
from glassnet.data.cache import image_cache
from glassnet.data.images import decode_processes
from glassnet.progress import TerminalProgress, show_progress
decoding.CACHED_FILES = 0
image_cache.FILES_PER_TASK = decode_processes.FILES_PER_TASK = 2
decode_processes.SECONDS_ALONE = 0.01
with show_progress(TerminalProgress()):
    print("start", flush=True)
    print(load_data(sys.argv[1], image_size=8, max_unreadable=0.5).fingerprint)
"""


def start(source):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "start\n"
    return process


def grow(photos, count):
    rng = np.random.default_rng(1)
    for index in range(count):
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{('cat', 'dog')[index % 2]}/more{index:03}.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_cache_goes_on_after_any_kill(photos, monkeypatch):
    grow(photos, 200)
    expected = load_from_memory(photos, monkeypatch)
    rng, n_kept = random.Random(0), [0]
    for _ in range(4):
        process = start(photos)
        due = time.monotonic() + 10
        while n_kept[-1] == count_kept(photos) and time.monotonic() < due:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        n_kept.append(count_kept(photos))
    assert n_kept == sorted(n_kept)  # no work was lost
    assert 0 < n_kept[1] < n_kept[-1]
    assert load(photos)[0] == expected


def count_kept(photos):
    return sum(path.stat().st_size for path in SourceFolder.of(str(photos)).path.glob("*/records"))


def test_cache_is_built_by_one_process_while_others_wait(photos, monkeypatch):
    grow(photos, 60)
    expected = load_from_memory(photos, monkeypatch)
    folder = SourceFolder.of(str(photos))
    with folder.locked():
        waiting = [start(photos) for _ in range(2)]
        for process in waiting:
            line = process.stderr.readline()
            assert line == f"Another process is decoding {photos} into the cache. This one waits for it.\n"
    results = [process.communicate() for process in waiting]
    assert [out.strip() for out, _ in results] == [expected[1][2]] * 2
    assert sorted("images are decoded once" in errors for _, errors in results) == [False, True]
