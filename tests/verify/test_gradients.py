import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from glassnet import nn
from glassnet.architecture import assemble, spec
from glassnet.engines.threads import _blas as blas_libraries
from glassnet.errors import ConfigError, GlassnetError, ShapeError
from glassnet.initialization import initial_state_dict
from glassnet.nn import functional
from glassnet.verify import (
    GradientComparison,
    GradientReport,
    check_gradients,
    check_layer,
    check_network,
    gradients,
    layers,
)

Array = NDArray[Any]


def passed(name: str, **options: Any) -> bool:
    return check_layer(layers.build(name), layers.CASES[name][1], **options).passed


def small(**changes: Any) -> Any:
    """tiny-bn with dropout, two blocks and half of its width, and a batch for it."""
    chosen = spec("tiny-bn", **{"width": 8, "blocks": 2, "dropout": 0.3, **changes})
    network = assemble(chosen, nn)
    network.load_state_dict(initial_state_dict(chosen, 0))
    rng = np.random.default_rng(0)
    return network, rng.random((4, 1, 8, 8)).astype(np.float32), rng.integers(10, size=4)


# Right gradients pass.


def test_check_all_layers_passes_and_compares_every_tensor() -> None:
    reports = gradients.check_all_layers()
    assert [report.name for report in reports] == list(layers.CASES)
    for report in reports:
        report.raise_if_failed()
        shape = layers.CASES[report.name][1]
        sizes = {"input": int(np.prod(shape))}
        sizes |= {name: p.data.size for name, p in layers.build(report.name).named_parameters()}
        compared = {name: sum(row.tensor == name for row in report.rows) for name in sizes}
        assert compared == {name: min(32, size) for name, size in sizes.items()}
        assert len({(row.tensor, row.position) for row in report.rows}) == len(report.rows)


def tensors(model: Any) -> list[str]:
    return ["input", *(name for name, _ in assemble(model, nn).named_parameters())]


@pytest.mark.parametrize("model", ["tiny", "tiny-bn"])
def test_check_gradients_passes_for_the_small_presets(model: str) -> None:
    report = check_gradients(model, directions=2, batch_size=4)
    report.raise_if_failed()
    assert report.name == model
    assert [row.tensor for row in report.rows] == [name for name in tensors(spec(model)) for _ in range(2)]


def test_check_gradients_takes_a_spec() -> None:
    chosen = spec("tiny", width=4, classes=3)
    assert [row.tensor for row in check_gradients(chosen).rows] == tensors(chosen)


@pytest.mark.slow
def test_check_gradients_passes_for_resnet20() -> None:
    report = check_gradients("resnet20")
    report.raise_if_failed()
    assert [row.tensor for row in report.rows] == tensors(spec("resnet20"))


VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "none"},
    {"skip": False},
    {"preactivation": True},
    {"preactivation": True, "norm": "none", "pool": "avg"},
    {"pool": "stride"},
    {"blocks": (1, 1), "shortcut": "projection", "pool": "none", "head": "average"},
    {"blocks": (1, 1), "shortcut": "zero-pad", "pool": "avg", "head": "average"},
    {"blocks": (1, 1), "shortcut": "projection", "preactivation": True, "pool": "none"},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_check_network_passes_for_variants_of_the_architecture(changes: dict[str, Any]) -> None:
    network, images, labels = small(**changes)
    check_network(network, images, labels).raise_if_failed()


def test_check_network_passes_for_images_with_empty_corners() -> None:
    """Zeros under fresh biases, which are zero, are kinks of ReLU: the check steps aside."""
    network, images, labels = small(norm="none")
    images[:, :, :4] = 0
    check_network(network, images, labels).raise_if_failed()
    images[...] = 0
    check_network(network, images, labels).raise_if_failed()


def test_check_network_passes_for_plain_kernels() -> None:
    network, images, labels = small(dropout=0.0)
    fast = check_network(network, images, labels)
    plain = check_network(network.use_kernels(functional), images, labels)
    assert plain.passed
    assert [row.analytical for row in plain.rows] == pytest.approx([row.analytical for row in fast.rows], rel=1e-9)
    assert all(module.kernels is functional for module in network.modules())


def test_check_network_passes_for_a_gradient_of_zero() -> None:
    """BatchNorm takes a bias before it away again: rounding of the loss over a step of 1e-6 was seen as an error."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(64, 3, rng=rng)),
        )
        rng = np.random.default_rng(seed)
        report = check_network(network, rng.standard_normal((4, 1, 8, 8)), rng.integers(0, 3, 4), seed=seed)
        report.raise_if_failed()
        assert report.worst.error < 5e-7
        bias = next(row for row in report.rows if row.tensor == "0.bias")
        assert abs(bias.analytical) < 1e-12


@pytest.mark.parametrize("seed", [0, 1])
def test_check_layer_draws_no_upstream_gradient_equal_to_the_input(seed: int) -> None:
    """Along x itself BatchNorm is level: dx would be almost 0 everywhere."""
    x = np.random.default_rng(seed).standard_normal((4, 3, 5, 5))
    check_layer(nn.BatchNorm2d(3), x, seed=seed).raise_if_failed()


# Wrong gradients fail. Each bug is planted in the class, and seen in every case and network that has the layer.


def wrong_sign(plain: Callable[..., Array]) -> Callable[..., Array]:
    return lambda layer, *dy: -plain(layer, *dy)


def returns_zeros(plain: Callable[..., Array]) -> Callable[..., Array]:
    return lambda layer, *dy: np.zeros_like(plain(layer, *dy))


def slightly_off(plain: Callable[..., Array]) -> Callable[..., Array]:
    return lambda layer, *dy: plain(layer, *dy) * (1 + 1e-5)


EVERY_LAYER = {
    "Conv2d": nn.Conv2d,
    "BatchNorm2d": nn.BatchNorm2d,
    "ReLU": nn.ReLU,
    "MaxPool2d": nn.MaxPool2d,
    "AvgPool2d": nn.AvgPool2d,
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d,
    "Flatten": nn.Flatten,
    "Linear": nn.Linear,
    "Dropout": nn.Dropout,
    "Identity": nn.Identity,
    "Sequential": nn.Sequential,
    "ZeroPadShortcut": nn.ZeroPadShortcut,
    "Residual, identity": nn.Residual,
    "CrossEntropyLoss": nn.CrossEntropyLoss,
}


@pytest.mark.parametrize("bug", [wrong_sign, returns_zeros, slightly_off])
@pytest.mark.parametrize("name", EVERY_LAYER)
def test_check_layer_fails_for_a_bug_in_any_backward(name: str, bug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert passed(name)
    monkeypatch.setattr(EVERY_LAYER[name], "backward", bug(EVERY_LAYER[name].backward))
    assert not passed(name)


def dropped_variance_term(norm: nn.BatchNorm2d, dy: Array) -> Array:
    """dx without − x̂·dγ/M: as if σ did not depend on x."""
    x, _, mean, inverse_std, _ = norm.pop_saved(dy)  # x has a mean near 0, and is saved as it is
    x_hat = (x - mean[:, None, None]) * inverse_std[:, None, None]
    assert norm.weight is not None
    assert norm.bias is not None
    norm.weight.grad[...] = (dy * x_hat).sum(axis=(0, 2, 3))
    norm.bias.grad[...] = dy.sum(axis=(0, 2, 3))
    dx: Array = dy - dy.mean(axis=(0, 2, 3), keepdims=True)
    return dx * (inverse_std * norm.weight.data)[:, None, None]


def transposed_kernel(conv: nn.Conv2d, dy: Array) -> Array:
    dx = CONVOLVE_BACK(conv, dy)
    conv.weight.grad[...] = conv.weight.grad.transpose(0, 1, 3, 2).copy()
    return dx


def unflipped_kernel(conv: nn.Conv2d, dy: Array) -> Array:
    x, w, *others = conv.pop_saved(dy)
    conv.save_for_backward((x, w[:, :, ::-1, ::-1], *others), dy.shape)
    return CONVOLVE_BACK(conv, dy)


def missing_bias_gradient(conv: nn.Conv2d, dy: Array) -> Array:
    before = None if conv.bias is None else conv.bias.grad.copy()
    dx = CONVOLVE_BACK(conv, dy)
    if conv.bias is not None:
        conv.bias.grad[...] = before
    return dx


def weight_decay_in_the_gradient(conv: nn.Conv2d, dy: Array) -> Array:
    dx = CONVOLVE_BACK(conv, dy)
    conv.weight.grad += 1e-4 * conv.weight.data
    return dx


def gradients_added_up(conv: nn.Conv2d, dy: Array) -> Array:
    before = conv.weight.grad.copy()
    dx = CONVOLVE_BACK(conv, dy)
    conv.weight.grad += before
    return dx


def missing_skip_term(block: nn.Residual, dy: Array) -> Array:
    children = dict(block.named_children())
    dx = children["relu"].backward(dy) if "relu" in children else dy
    for name, layer in reversed(list(children.items())):
        if name not in ("relu", "shortcut", "downsample"):
            dx = layer.backward(dx)
    return dx


def gradient_to_another_place(pool: nn.MaxPool2d, dy: Array) -> Array:
    """As if the larger of two places were the smaller."""
    across, *others = pool.pop_saved(dy)
    pool.save_for_backward((~across, *others), dy.shape)
    return POOL_BACK(pool, dy)


def undivided_mean(pool: nn.AvgPool2d, dy: Array) -> Array:
    return AVERAGE_BACK(pool, dy) * pool.window.area


def dy_at_zero_and_below(relu: nn.ReLU, dy: Array) -> Array:
    relu.pop_saved(dy)
    return dy.copy(order="K")


CONVOLVE_BACK, POOL_BACK, AVERAGE_BACK = nn.Conv2d.backward, nn.MaxPool2d.backward, nn.AvgPool2d.backward

BUGS: list[tuple[type[nn.Module], Callable[..., Array], str]] = [
    (nn.BatchNorm2d, dropped_variance_term, "BatchNorm2d"),
    (nn.Conv2d, transposed_kernel, "Conv2d, padding 1"),
    (nn.Conv2d, unflipped_kernel, "Conv2d, padding 1"),
    (nn.Conv2d, missing_bias_gradient, "Conv2d, padding 1"),
    (nn.Conv2d, weight_decay_in_the_gradient, "Conv2d, padding 1"),
    (nn.Conv2d, gradients_added_up, "Conv2d, padding 1"),
    (nn.Residual, missing_skip_term, "Residual, identity"),
    (nn.MaxPool2d, gradient_to_another_place, "MaxPool2d"),
    (nn.AvgPool2d, undivided_mean, "AvgPool2d"),
    (nn.ReLU, dy_at_zero_and_below, "ReLU"),
]


@pytest.mark.parametrize(("layer", "bug", "name"), BUGS, ids=lambda value: getattr(value, "__name__", value))
def test_checks_of_layer_and_network_fail_for_a_planted_bug(
    layer: type[nn.Module], bug: Callable[..., Array], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = "avg" if layer is nn.AvgPool2d else "max"
    network, images, labels = small(norm="none" if bug is missing_bias_gradient else "batch", pool=pool)
    monkeypatch.setattr(layer, "backward", bug)
    assert not passed(name)
    report = check_network(network, images, labels)
    assert not report.passed
    assert report.fault is not None
    assert report.fault.kind == layer.__name__
    fault = re.escape(f" It must be below 1e-06. Fault: {report.fault}.")
    with pytest.raises(GlassnetError, match=f"^Wrong gradient in the network at .*{fault}$"):
        report.raise_if_failed()


def mean_over_the_images(loss: nn.CrossEntropyLoss) -> Array:
    log_p, q, _ = loss.pop_saved()
    return functional.weighted_cross_entropy_backward(1.0, (log_p, q, len(q)))


def targets_that_sum_to_one(loss: nn.CrossEntropyLoss) -> Array:
    log_p, q, total_weight = loss.pop_saved()
    dz: Array = (np.exp(log_p) - q) / total_weight
    return dz


@pytest.mark.parametrize("bug", [mean_over_the_images, targets_that_sum_to_one])
@pytest.mark.parametrize("name", ["CrossEntropyLoss, weights", "CrossEntropyLoss, both"])
def test_check_layer_fails_for_a_bug_in_the_weights_of_a_loss(
    name: str, bug: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passed(name)
    monkeypatch.setattr(nn.CrossEntropyLoss, "backward", bug)
    assert not passed(name)


def test_check_network_fails_where_the_bug_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Conv2d, "backward", weight_decay_in_the_gradient)
    network, images, labels = small()
    report = check_network(network, images, labels)
    failed = {row.tensor for row in report.rows if not row.passed}
    assert failed
    assert failed <= {name for name, _ in network.named_parameters() if "conv" in name}
    assert not report.worst.passed


def test_check_layer_raises_at_a_tie_and_passes_beside_it() -> None:
    """At a tie itself there is no derivative; beside it the wrong winner is a wrong gradient."""
    x = np.array([[[[1.0, 5.0], [5.0, 5.0 - 1e-9]]]])
    with pytest.raises(GlassnetError, match="points of input that are no kinks"):
        check_layer(nn.MaxPool2d(2), x, entries=4)
    x[0, 0, 0, 1] += 1e-3
    assert check_layer(nn.MaxPool2d(2), x, entries=4).passed


def raises_key_error(layer: nn.Module, dy: Array) -> Array:
    raise KeyError("saved")


def test_checks_of_layer_and_network_name_a_layer_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Flatten, "backward", raises_key_error)
    failure = "Failure in the gradient check of {}: KeyError: 'saved'."
    with pytest.raises(GlassnetError, match=f"^{re.escape(failure.format('Flatten'))}$"):
        gradients.check_all_layers()
    fault = " Fault: flatten (Flatten): backward raises KeyError: 'saved'."
    with pytest.raises(GlassnetError, match=f"^{re.escape(failure.format('tiny') + fault)}$"):
        check_gradients("tiny")


def test_check_gradients_names_the_block_that_never_calls_a_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Residual, "backward", missing_skip_term)
    report = check_gradients("tiny-bn", width=4)
    assert str(report.fault) == "layer1.0 (Residual): backward of layer1.0.shortcut is never called"
    monkeypatch.setattr(nn.Linear, "backward", lambda layer, dy: dy @ layer.weight.data)
    report = check_gradients("tiny-bn", width=4)
    assert str(report.fault) == "fc (Linear): backward leaves no gradient of weight"


def test_check_gradients_checks_the_loss_of_a_recipe() -> None:
    plain = check_gradients("tiny", seed=1, batch_size=5)
    for fields in ({"label_smoothing": 0.3}, {"class_weights": "balanced"}, {"kernels": "plain", "dropout": 0.5}):
        report = check_gradients("tiny", seed=1, batch_size=5, **fields)
        report.raise_if_failed()
        assert [row.numerical for row in report.rows] != [row.numerical for row in plain.rows]
    with pytest.raises(ConfigError, match="field of the model or the recipe must be one of .*did you mean 'dropout'"):
        check_gradients("tiny", droput=0.5)


# Kinks.


def test_steep_direction_is_never_nearly_level() -> None:
    """Rounding is 1e-10 of the loss: a slope of 1e-6 could not be told from 0."""
    gradient = np.random.default_rng(0).standard_normal(1000)
    rng = np.random.default_rng(1)
    slopes = [abs(np.vdot(gradient, gradients._steep_direction(gradient, rng))) for _ in range(200)]
    assert min(slopes) > 0.3 * np.linalg.norm(gradient) / np.sqrt(gradient.size)


def test_check_network_counts_redraws_and_raises_for_too_many() -> None:
    network, images, labels = small(dropout=0.0)
    report = check_network(network, images, labels, eps=1e-2)  # so wide a difference crosses some
    assert report.redraws > 0
    assert {row.tensor for row in report.rows} == {"input", *(name for name, _ in network.named_parameters())}
    with pytest.raises(GlassnetError, match=r"must compare 1 point of .* Got 0 in 10 draws\. .* an eps below 10\."):
        check_network(network, images, labels, eps=10)


# Nothing is touched.


def test_checks_change_nothing() -> None:
    network, images, labels = small()
    network.eval()
    generator = network.dropout.generator
    network.train()(images)  # kept for a backward pass that may still come
    state, arrays = network.state_dict(), [p.data for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad[...] = 7
    random_state, images_before, labels_before = generator.bit_generator.state, images.copy(), labels.copy()
    check_network(network, images, labels)
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value, state[key])
        assert value.dtype == state[key].dtype
    assert all(p.data is data and (p.grad == 7).all() for p, data in zip(network.parameters(), arrays, strict=True))
    assert network.dropout.generator is generator
    assert generator.bit_generator.state == random_state
    assert all(module.training for module in network.modules())
    np.testing.assert_array_equal(images, images_before)
    np.testing.assert_array_equal(labels, labels_before)
    network.backward(np.ones((4, 10), np.float32))

    norm, x = nn.BatchNorm2d(3).eval(), np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    before = x.copy()
    check_layer(norm, x)
    np.testing.assert_array_equal(x, before)
    assert norm.num_batches_tracked == 0
    assert not norm.training


def test_check_network_checks_training_mode() -> None:
    network, images, labels = small()
    assert check_network(network.eval(), images, labels) == check_network(network.train(), images, labels)


def test_checks_follow_from_the_seed() -> None:
    network, images, labels = small(dropout=0.0)
    assert check_network(network, images, labels, seed=1) == check_network(network, images, labels, seed=1)
    assert check_network(network, images, labels, seed=1).rows != check_network(network, images, labels, seed=2).rows
    same = [check_layer(nn.Linear(3, 4, rng=np.random.default_rng(0)), (2, 3), seed=seed).rows for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_checks_limit_blas_to_one_thread() -> None:
    threads = []
    limited = {library.filepath for library in blas_libraries()}  # SciPy's own may have been loaded later

    class Listening(nn.Linear):
        def forward(self, x: Array) -> Array:
            threads.extend(lib["num_threads"] for lib in threadpool_info() if lib["filepath"] in limited)
            return super().forward(x)

    check_layer(Listening(2, 3), (4, 2))
    check_network(nn.Sequential(Listening(2, 3)), np.ones((4, 2)), np.zeros(4, np.int64))
    assert set(threads) == {1}


# A check that compares nothing is no pass.


@pytest.mark.parametrize("entries", [0, -1, 2.5])
def test_check_layer_raises_for_too_few_entries(entries: Any) -> None:
    message = f"entries must be an integer of at least 1. Got {entries}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_layer(nn.ReLU(), (2, 3), entries=entries)


def test_check_network_raises_for_too_few_directions() -> None:
    network, images, labels = small()
    with pytest.raises(ConfigError, match=r"directions must be an integer of at least 1\. Got 0\."):
        check_network(network, images, labels, directions=0)


def test_check_layer_raises_for_a_tensor_without_entries() -> None:
    with pytest.raises(GlassnetError, match=r"must compare 1 point of input .* Got 0 in 0 draws"):
        check_layer(nn.ReLU(), (0, 3))


def test_gradient_report_raises_for_nothing_and_for_zeros() -> None:
    for rows in ((), (GradientComparison("input", "(0, 1)", 0.0, 0.0),)):
        message = (
            f"The gradient check of ReLU must compare numbers that are not 0. Got 0 alone in {len(rows)} comparisons."
        )
        with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
            GradientReport("ReLU", rows, 0)
    with pytest.raises(GlassnetError, match="Got 0 alone in 6 comparisons"):
        check_layer(nn.ReLU(), -np.ones((2, 3)))


def test_check_network_raises_for_wrong_labels() -> None:
    network, images, labels = small()
    with pytest.raises(ShapeError, match="labels of CrossEntropyLoss must be from 0 to 9. Got 10"):
        check_network(network, images, labels + 10 - labels)


def test_check_gradients_raises_for_an_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="model must be one of .* Got 'resnet21'"):
        check_gradients("resnet21")


# The report.


def test_gradient_report_has_all_rows_and_the_worst() -> None:
    good, bad = (
        GradientComparison("input", "(0, 1)", 0.5, 0.5),
        GradientComparison("weight", "(1, 0)", 0.25, float("nan")),
    )
    report = GradientReport("Linear", (good, bad), 3)
    assert not report.passed
    assert report.worst is bad
    assert report.table()[0] == {
        "tensor": "input", "position": "(0, 1)", "numerical": 0.5, "analytical": 0.5, "error": 0.0, "passed": True
    }  # fmt: skip
    json.dumps(report.table())
    message = (
        "Wrong gradient in Linear at weight, (1, 0): backward gives nan and differences give 0.25, an error of inf. "
        "It must be below 1e-06."
    )
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        report.raise_if_failed()
    assert repr(report) == "GradientReport(Linear: FAILED, 2 comparisons, worst error inf at weight)"
    fine = GradientReport("Linear", (good,), 0)
    assert repr(fine) == "GradientReport(Linear: passed, 1 comparisons, worst error 0.0e+00 at input)"
    assert fine.passed
    fine.raise_if_failed()


def test_cases_have_both_forms_of_the_backward_convolution() -> None:
    """Stride 1 goes by a correlation, other strides by scattering: the cases hold both."""
    windows = [
        module.window
        for name in layers.CASES
        for module in layers.build(name).modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert {window.backward_window is None for window in windows} == {True, False}
