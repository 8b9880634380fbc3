import gc
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from shutil import make_archive

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.data import decode_image
from glassnet.data.images import decode_processes
from glassnet.errors import ConfigError
from glassnet.progress import Progress, show_progress
from glassnet.training import file_predictions
from tests.data.images.drawn_digits import write
from tests.training.runs import train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gn.Model:
    """A model of 3 classes of colour images."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 80, (60, 9, 9, 3), np.uint8)
    images[np.arange(60), ..., labels] += 150
    data = gn.Dataset(images, labels, ["red", "green", "blue"])
    return gn.load(train(data, tmp_path_factory.mktemp("files") / "run", model="tiny-bn").path)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of many sizes, modes and formats."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    paths = []
    for number in range(40):
        height, width = rng.integers(1, 40, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        mode, suffix = (("RGB", ".jpg"), ("L", ".png"), ("P", ".gif"), ("CMYK", ".tif"), ("RGBA", ".webp"))[number % 5]
        paths.append(folder / f"{number:02}{suffix}")
        image.convert(mode).save(paths[-1])
    return paths


def assert_same(files: list[gn.FilePrediction], predictions: list[gn.Prediction]) -> None:
    for file, prediction in zip(files, predictions, strict=True):
        assert (file.label, file.error, file.unlike) == (prediction.label, None, prediction.unlike)
        assert dict(file.top) == pytest.approx(dict(prediction.top), rel=1e-5)
        assert (file.label, file.probability) == file.top[0]


@pytest.fixture
def _in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are decoded by other processes from the first one on."""
    monkeypatch.setattr(decode_processes, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(decode_processes, "_are_started", lambda first_answer: first_answer.result() == [])
    monkeypatch.setattr(decode_processes, "FILES_PER_TASK", 3)
    monkeypatch.setattr(file_predictions, "usable_cores", lambda: 2)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_predict_files_predicts_as_predict(model: gn.Model, paths: list[Path], batch_size: int) -> None:
    rows = list(model.predict_files(paths, batch_size=batch_size))
    assert [row.path for row in rows] == list(map(str, paths))
    assert_same(rows, model.predict(paths))
    assert all(row.pixels is None for row in rows)


@pytest.mark.usefixtures("_in_processes")
def test_predict_files_keeps_the_order_over_processes(model: gn.Model, paths: list[Path]) -> None:
    order = np.random.default_rng(2).integers(0, len(paths), 200)
    given = [Path("none.png") if index % 9 == 0 else paths[index] for index in order]
    rows = list(model.predict_files(given, top=2, batch_size=16))
    assert [row.path for row in rows] == list(map(str, given))
    expected = dict(zip(map(str, paths), model.predict(paths, top=2), strict=True))
    for row in rows:
        if row.path == "none.png":
            assert row == gn.FilePrediction("none.png", error="no such file")
        else:
            assert_same([row], [expected[row.path]])


@pytest.mark.usefixtures("_in_processes")
def test_predict_files_reads_archives_in_place(model: gn.Model, paths: list[Path], tmp_path: Path) -> None:
    archive = make_archive(str(tmp_path / "images"), "gztar", paths[0].parent)
    rows = list(model.predict_files([archive, "none.zip"], batch_size=8))
    assert rows.pop() == gn.FilePrediction("none.zip", error="no such file")
    assert [row.path for row in rows] == [f"{archive}/{path.name}" for path in paths]
    assert_same(rows, model.predict(paths))


def test_predict_files_leaves_out_what_is_no_image_in_a_folder(
    model: gn.Model, paths: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(paths[1].read_bytes())
    (tmp_path / "b").write_bytes(paths[0].read_bytes())  # recognised by its content
    (tmp_path / "c.png").write_text("named as an image", encoding="utf-8")
    for name in ("labels.txt", "a.json", "notes"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    rows = list(model.predict_files(tmp_path))
    assert [(Path(row.path).name, row.error) for row in rows] == [
        ("a.png", None),
        ("b", None),
        ("c.png", "not an image"),
    ]
    (row,) = model.predict_files(tmp_path / "notes")  # it was asked for
    assert row.error == "not an image"


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_predict_decodes_files_in_the_form_of_the_run(tmp_path: Path, fit: str) -> None:
    """16-bit images of 40 gray levels, with what tells the classes apart at the ends of wide images."""
    rng = np.random.default_rng(3)
    for label in ("left", "right"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(30_000, 30_010, (8, 32))
            pixels[:, : 8 if label == "left" else -9 : -1] += 30
            Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / "data" / label / f"{number}.png")
    data = gn.load_data(tmp_path / "data", image_size=8, fit=fit)
    model = gn.load(train(data, tmp_path / "run", model="tiny-bn", batch_size=8, dtype="float64").path)
    paths = sorted((tmp_path / "data").rglob("*.png"))
    low, high = data.source["value_range"]
    assert high - low < 100
    arrays = [decode_image(path, 8, 1, fit=fit, value_range=(low, high)) for path in paths]  # type: ignore[call-overload]
    assert np.unique(arrays).size > 10
    expected = model.predict(np.stack(arrays))
    assert model.predict(paths) == expected
    assert_same(list(model.predict_files(tmp_path / "data")), expected)


def test_predict_files_reads_drawn_digits_as_predict_does(tmp_path: Path) -> None:
    model = gn.load(train("digits", tmp_path / "run").path)
    for digit in (2, 7):
        write(digit, pen=6).save(tmp_path / f"{digit}.png")
    Image.new("L", (50, 50), "white").save(tmp_path / "blank.png")
    paths = sorted(tmp_path.glob("*.png"))
    rows, predictions = list(model.predict_files(paths)), model.predict(paths)
    assert_same(rows, predictions)
    for row, prediction in zip(rows, predictions, strict=True):
        assert row.preprocessing == prediction.preprocessing
        assert row.pixels is not None
        assert np.array_equal(row.pixels, prediction.pixels)


def test_predict_files_reads_paths_as_the_predictions_are_read(model: gn.Model, paths: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield paths[taken % len(paths)]

    rows = model.predict_files(endless(), batch_size=8)
    assert len(list(islice(rows, 20))) == 20
    assert taken <= 20 + 2 * 8 + 8
    rows.close()


@pytest.fixture
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_garbage_collection")
def test_predict_files_keeps_neither_images_nor_rows_nor_garbage(
    model: gn.Model, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_predictions, "usable_cores", lambda: 1)
    alone = gn.load(model.path, threads=1)  # a second thread takes memory of its own when it first has work

    def peak(count: int) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in alone.predict_files((paths[0] for _ in range(count)), batch_size=32)) == count
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(64)
        few, many = peak(128), peak(512)  # both several times what is decoded ahead
    finally:
        tracemalloc.stop()
    assert many < 1.2 * few


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top must be an integer of at least 1. Got 0."),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1. Got 0."),
        ({"max_pixels": 0}, "max_pixels must be an integer of at least 1. Got 0."),
    ],
)
def test_predict_files_raises_at_once_for_wrong_arguments(
    model: gn.Model, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        model.predict_files([], **arguments)


def test_load_takes_the_settings_of_the_computation(model: gn.Model, paths: list[Path]) -> None:
    double = gn.load(model.path, threads=1, dtype="float64", kernels="plain")
    assert (double.network.threads, double.network.dtype, double.network.kernels) == (1, np.float64, "plain")
    assert_same(list(double.predict_files(paths)), model.predict(paths))
    with pytest.raises(ConfigError, match="device must be 'auto' or 'cpu' for engine='numpy'. Got 'cuda'."):
        gn.load(model.path, device="cuda")


def test_predict_files_counts_the_files_that_are_no_images_of_all_batches(
    model: gn.Model, paths: list[Path], tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "9.png").write_bytes(paths[1].read_bytes())
    lines: list[str] = []

    class Log(Progress):
        def log(self, line: str) -> None:
            lines.append(line)

    with show_progress(Log()):
        assert [file.error for file in model.predict_files([tmp_path], batch_size=2)] == [None]
    names = ", ".join(f"{tmp_path}/{number}.txt" for number in range(3))
    assert lines == [f"Files that are no images were left out: 5 ({names}, ...)."]
