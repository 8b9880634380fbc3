"""The scripts in benchmarks/: each can be imported, and what they compute is right. Their times are not tested."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.bench import WORKLOADS, load_bench
from glassnet.studies.ablation import BlockAblation, ablation_figure
from tests.training.runs import train

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A script of the folder, imported by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield import_module(request.param)
    for name in set(sys.modules) - before & {path.stem for path in BENCHMARKS.glob("*.py")}:
        del sys.modules[name]


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCHMARKS.glob("*.py")), indirect=True)
def test_script_can_be_imported(script: Any) -> None:
    assert script.__doc__


def test_bench_json_can_be_compared() -> None:
    assert set(load_bench(BENCHMARKS / "bench.json")["workloads"]) == set(WORKLOADS)


@pytest.mark.parametrize("script", ["convolution_steps"], indirect=True)
def test_convolution_steps_compute_the_same(script: Any) -> None:
    rng = np.random.default_rng(0)
    for channels, out_channels, k, size in ((1, 1, 1, (1, 3)), (2, 3, 3, (5, 4)), (3, 2, 5, (4, 6))):
        x = rng.standard_normal((6, channels, *size))
        weight = rng.standard_normal((out_channels, channels, k, k))
        layer = nn.Conv2d(channels, out_channels, k, padding="same", bias=False, dtype=np.float64)
        layer.load_state_dict({"weight": weight})
        for name, task in script.prepare(x, weight, threads=2).items():
            y = task.run_once()
            np.testing.assert_allclose(y, layer(x)[: len(y)], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("script", ["convolution_steps"], indirect=True)
def test_convolution_steps_replace_the_table(script: Any) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    changed = script.with_table(page, ["| new table |"])
    assert f"{script.BEGIN}| new table |\n{script.END}" in changed
    assert changed.partition(script.BEGIN)[0] == page.partition(script.BEGIN)[0]


@pytest.mark.parametrize("script", ["machine_peak"], indirect=True)
def test_machine_peak_is_work_by_the_shortest_time(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "GEMM_SIZE", 64)
    monkeypatch.setattr(script, "COPY_BYTES", 1 << 16)
    monkeypatch.setattr(script, "shortest", lambda action: action() is None or 0.5)
    assert script.matrix_product_peak(1) == 2 * 64**3 / 0.5
    assert script.copy_bandwidth(2) == 2 * 2 * (1 << 16) / 0.5  # read and written, by two threads


@pytest.mark.parametrize("script", ["roofline"], indirect=True)
def test_roofline_has_the_layers_of_resnet20(script: Any) -> None:
    layers = script.distinct_layers(gn.spec("resnet20"), 128)
    names = [layer.name for layer in layers]
    assert len(names) == len(set(names)) == 12
    assert names[:4] == ["Conv2d 3→16, 32×32", "BatchNorm2d 16, 32×32", "ReLU 16, 32×32", "Conv2d 16→16, 32×32"]
    assert [layer.is_first for layer in layers] == [True] + 11 * [False]


@pytest.mark.parametrize("script", ["roofline"], indirect=True)
def test_roofline_counts_operations(script: Any) -> None:
    layers = {layer.name: layer for layer in script.distinct_layers(gn.spec("resnet20"), 128)}
    forward, both = script.PASSES
    convolution = layers["Conv2d 16→32, 32×32, stride 2"]
    flops = 2 * 128 * 256 * 144 * 32
    x, weight, y = 4 * 128 * 16 * 1024, 4 * 32 * 144, 4 * 128 * 32 * 256
    assert convolution.count() == {
        forward: script.OperationCount(flops, x + weight + y),
        both: script.OperationCount(3 * flops, 3 * (x + weight) + 2 * y),
    }
    first = layers["Conv2d 3→16, 32×32"].count()  # needs no gradient with respect to the images
    assert first[both].flops == 2 * first[forward].flops
    assert layers["ReLU 16, 32×32"].count()[forward].flops == 128 * 16 * 1024


@pytest.mark.parametrize("script", ["roofline"], indirect=True)
def test_roofline_figure_has_a_button_for_each_pass(script: Any) -> None:
    layers = script.distinct_layers(gn.spec("tiny-bn"), 2)
    speeds = {(name, key): 1e9 for name in script.PREPARE for key in script.PASSES}
    figure = script.roofline_figure([(layer, speeds) for layer in layers], peak=2e9, bandwidth=1e9)
    limit, *marks = figure.data
    assert limit.y[-1] == 2
    assert [trace.visible for trace in marks] == 3 * [True] + 3 * [False]
    both = figure.layout.updatemenus[0].buttons[1]
    assert both.args[0]["visible"] == [True] + 3 * [False] + 3 * [True]
    assert len(script.table([(layer, speeds) for layer in layers], 2e9).rows) == 2 * len(layers)


@pytest.mark.parametrize("script", ["published_weights"], indirect=True)
def test_published_weights_measures_body_and_sum_of_each_block(script: Any) -> None:
    network = gn.build(gn.spec("resnet20", width=2, blocks=1))
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    outputs = network.activations(images)
    rows = script.block_responses(network, images)
    assert [row["block"] for row in rows] == ["layer1.0", "layer2.0", "layer3.0"]
    total = outputs["relu"] + outputs["layer1.0.bn2"]  # the first block's shortcut is the identity
    assert rows[0]["body_std"] == pytest.approx(outputs["layer1.0.bn2"].std(), rel=1e-5)
    assert rows[0]["sum_std"] == pytest.approx(total.std(), rel=1e-5)
    assert rows[0]["fraction_below_0"] == pytest.approx((total < 0).mean())


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_gpu_measures_everything_on_a_cpu(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "PRECISIONS", ("bf16-mixed",))
    threads = script.torch.get_num_threads()
    script.torch.set_num_threads(1)  # others would mostly wait
    try:
        assert script.main("cpu", quick=True, path=tmp_path / "gpu.json")
    finally:
        script.torch.set_num_threads(threads)
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [row["passed"] for row in results["parity"]] == [True, True, True]
    assert 0 < results["parity"][0]["gradients"] < 1e-12 < results["parity"][1]["gradients"]
    assert 1e-4 < results["step"]["difference"] < 0.2  # bfloat16 has 8 bits
    assert [row["same bits"] for row in results["trainings"]] == [True, True]
    assert capsys.readouterr().out.count("\n## ") == 3


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_gpu_names_a_parity_that_fails(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check = script.check_parity

    def wrong(spec: gn.ResNetSpec, **options: Any) -> Any:
        report = check(spec, **options)
        first = replace(report.rows[0], required_tolerance=1.0, tolerance=1e-9)
        return replace(report, rows=(first, *report.rows[1:]))

    monkeypatch.setattr(script, "check_parity", wrong)
    rows = script.parity(gn.spec("tiny-bn"), "cpu")
    assert [row["passed"] for row in rows] == [False, False, False]


@pytest.mark.parametrize("script", ["kills"], indirect=True)
def test_kills_compare_everything_that_a_training_leaves(script: Any, digits: gn.Dataset, tmp_path: Path) -> None:
    for name, options in {"a": {}, "b": {}, "c": {"ema": 0.5}}.items():
        train(digits, tmp_path / name / "run", epochs=1, samples=100, test_samples=100, **options)
    a, b, c = (script.run_result(tmp_path / name) for name in "abc")
    assert a == b
    assert {key for key in c if a.get(key) != c[key]} >= {"metrics", "config", "last.safetensors/fc.weight"}
    assert "checkpoint.safetensors metadata" in a


def test_published_weights_json_agrees_with_itself_and_the_page() -> None:
    stored = json.loads((BENCHMARKS / "published_weights.json").read_text(encoding="utf-8"))
    matrix = np.array(stored["confusion"])
    assert matrix.sum(axis=1).tolist() == 10 * [1000]
    assert np.trace(matrix) / matrix.sum() == stored["accuracy"]
    assert f"accuracy {stored['accuracy']:.4f} and loss {stored['loss']:.4f}".replace(" 0.", " .") in (
        BENCHMARKS / "README.md"
    ).read_text(encoding="utf-8")
    blocks = [BlockAblation(**block) for block in stored["ablation"]]
    assert len(ablation_figure(blocks).data) == 2  # identity shortcuts, and those that change the shape
    assert {block.block for block in blocks} == {row["block"] for row in stored["responses"]}


def test_doctor_page_has_the_results_that_chapter_10_states() -> None:
    page = (BENCHMARKS / "doctor.md").read_text(encoding="utf-8")
    chapter = (BENCHMARKS.parent / "docs/course/10-when-training-fails.md").read_text(encoding="utf-8")
    assert "**92 of 92**" in page
    assert "**0 of 32**" in page
    assert "92 of 92 runs with a" in chapter
    assert "none of 32 healthy ones" in chapter


def test_resnet20_training_json_has_the_rows_of_the_page() -> None:
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8").replace("*", "")
    stored = json.loads((BENCHMARKS / "resnet20_training.json").read_text(encoding="utf-8"))
    assert f"`{stored['command']}`" in page
    assert stored["time"] in page
    for row in stored["history"]:
        cells = [f"{row['loss']:.3f}", f"{row['train_accuracy']:.4f}", f"{row['test_loss']:.3f}"]
        line = " | ".join([str(row["epoch"]), *cells, f"{row['test_accuracy']:.4f}"])
        assert f"| {line.replace(' 0.', ' .')} |" in page
    assert len(stored["history"]) == 4


def test_chapter_9_finds_stored_numbers_above_the_notebook_or_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter = (BENCHMARKS.parent / "docs/course/09-real-depth.md").read_text(encoding="utf-8")
    code = chapter[chapter.index("def stored(name)") : chapter.index("training = stored(")]
    names: dict[str, Any] = {"gn": gn, "json": json, "Path": Path}
    exec(code, names)
    notebooks = tmp_path / "bundle/notebooks/student"
    notebooks.mkdir(parents=True)
    monkeypatch.chdir(notebooks)
    assert names["stored"]("resnet20_training.json")["history"]  # of the checkout that the package is in
    monkeypatch.setattr(gn, "__file__", str(tmp_path / "elsewhere/glassnet/__init__.py"))
    with pytest.raises(FileNotFoundError, match="repository"):
        names["stored"]("resnet20_training.json")
    (tmp_path / "bundle/benchmarks").mkdir()
    (tmp_path / "bundle/benchmarks/resnet20_training.json").write_text("{}", encoding="utf-8")
    assert names["stored"]("resnet20_training.json") == {}
