"""The page's network against the NumPy engine and PyTorch: every tensor, forward and backward."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import nn
from glassnet.engines.base import captured_outputs
from glassnet.errors import ConfigError

from ..javascript import JavaScriptError

TOLERANCE = 1e-11  # relative to the largest number of a tensor; measured: 2e-14 at most

NETWORKS = {
    "tiny": ("tiny", {}),
    "tiny-bn": ("tiny-bn", {}),
    "resnet20": ("resnet20", {}),
    "plain": ("tiny-bn", {"skip": False, "blocks": 2}),
    "three blocks": ("tiny", {"blocks": 3, "norm": "batch", "bn_momentum": None}),
    "pre-activation": ("tiny-bn", {"blocks": (2, 1), "preactivation": True, "head": "average", "pool": "avg"}),
    "pre-activation, projection": ("tiny-bn", {"blocks": (1, 1), "preactivation": True, "shortcut": "projection"}),
    "zero-pad, odd sizes": ("tiny", {"blocks": (1, 2, 1), "width": 3, "image_size": (9, 7)}),
    "projection, odd sizes": ("tiny-bn", {"blocks": (1, 1), "shortcut": "projection", "image_size": (7, 10)}),
    "bottleneck": ("tiny-bn", {"block": "bottleneck", "blocks": (1, 1), "width": 3, "pool": "stride"}),
    "7x7 stem": ("tiny-bn", {"stem": "7x7", "in_channels": 3, "image_size": (17, 14), "width": 5, "blocks": (1, 1)}),
    "7x7 stem, average": ("tiny", {"stem": "7x7", "pool": "avg", "image_size": 13, "head": "average"}),
    "no pool, one channel": ("tiny", {"pool": "none", "width": 1, "classes": 3}),
}

COMPUTE = """
    const network = new Network(graph);
    network.load(state);
    network.forward(images.data, images.shape[0], {training});
    const dx = network.backward(logitsGradient.data, {bug});
    const {outputs, outputGradients, pathGradients, gradients, buffers} = network;
    return {outputs, outputGradients, pathGradients, gradients, buffers, dx};
"""


def random_case(spec: gn.ResNetSpec, count: int):
    """Return a float64 network with weights that have no zeros, images, and a gradient of the logits."""
    rng = np.random.default_rng(prod(spec.size) + spec.width)
    network = gn.build(spec, seed=2, dtype="float64", kernels="plain")
    state = network.state_dict()
    for key, array in state.items():
        if array.ndim == 1:
            array[...] = rng.uniform(0.5, 1.5, array.shape) if key.endswith("var") else rng.normal(size=array.shape)
    network.load_state_dict(state)
    return network, rng.normal(size=(count, spec.in_channels, *spec.size)), rng.normal(size=(count, spec.classes))


def numpy_results(network, images, logits_gradient):
    """Return outputs, output gradients, parameter gradients, buffers and the images' gradient, in training mode."""
    outputs, output_gradients = {}, {}

    def save_output(name, x, y):
        outputs.update(captured_outputs(name, x, y, network.tensor_names))

    def save_gradient(name, dy, dx):
        output_gradients.update(captured_outputs(name, dx, dy, network.tensor_names))

    with nn.module_hooks(network.module, network.activation_names, forward=save_output, backward=save_gradient):
        network.module.train()(images)
        dx = network.module.backward(logits_gradient)
    gradients = {key: parameter.grad for key, parameter in network.module.named_parameters()}
    buffers = {key: array for key, array in network.state_dict().items() if key not in gradients}
    return {
        "outputs": outputs,
        "outputGradients": output_gradients,
        "gradients": gradients,
        "buffers": buffers,
        "images": {"dx": dx},
    }


def page_results(javascript, network, images, logits_gradient, training=True, bug=None):
    """Return the same of the page's engine, and more."""
    answer = javascript(
        COMPUTE,
        graph=gn.graph(network.spec),
        state=network.state_dict(),
        images=images,
        logitsGradient=logits_gradient,
        training=training,
        bug=bug,
    )
    for group in ("outputs", "buffers"):
        answer[group] = {key: value["data"].reshape(value["shape"]) for key, value in answer[group].items()}
    return {**answer, "images": {"dx": answer["dx"]}}


def largest_error(results, expected):
    """Return the largest relative error of a tensor and its place."""
    errors = {
        f"{group} {name}": relative_error(results[group][name], array)
        for group, arrays in expected.items()
        for name, array in arrays.items()
    }
    return max((float(np.nan_to_num(error, nan=np.inf)), name) for name, error in errors.items())


def relative_error(actual, expected):
    error = np.abs(actual.ravel() - np.ravel(expected)).max()
    return error / max(np.abs(expected).max(), 1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_gives_every_tensor_of_the_numpy_engine(javascript, name):
    preset, changes = NETWORKS[name]
    network, images, logits_gradient = random_case(gn.spec(preset, **changes), 1 if preset == "resnet20" else 3)
    results = page_results(javascript, network, images, logits_gradient)
    assert largest_error(results, numpy_results(network, images, logits_gradient)) < (TOLERANCE, "")


SPECS = st.fixed_dictionaries(
    {
        "in_channels": st.integers(1, 3),
        "image_size": st.tuples(st.integers(4, 11), st.integers(4, 11)),
        "classes": st.integers(2, 5),
        "width": st.integers(1, 6),
        "blocks": st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple),
        "block": st.sampled_from(["basic", "bottleneck"]),
        "stem": st.sampled_from(["3x3", "7x7"]),
        "norm": st.sampled_from(["batch", "none"]),
        "preactivation": st.booleans(),
        "skip": st.booleans(),
        "shortcut": st.sampled_from(["zero-pad", "projection"]),
        "pool": st.sampled_from(["none", "max", "avg", "stride"]),
        "head": st.sampled_from(["average", "flatten"]),
    }
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(fields=SPECS)
def test_network_gives_every_tensor_of_the_numpy_engine_for_any_spec(javascript, fields):
    try:
        spec = gn.ResNetSpec(**fields)
    except ConfigError:
        return  # the images are too small
    network, images, logits_gradient = random_case(spec, 6)
    results = page_results(javascript, network, images, logits_gradient)
    assert largest_error(results, numpy_results(network, images, logits_gradient)) < (1e-9, "")


@pytest.mark.parametrize("name", ["tiny", "three blocks", "pre-activation, projection", "7x7 stem"])
def test_backward_in_evaluation_mode_is_that_of_autograd(javascript, name):
    torch = pytest.importorskip("torch")
    preset, changes = NETWORKS[name]
    network, images, logits_gradient = random_case(gn.spec(preset, **changes), 3)
    results = page_results(javascript, network, images, logits_gradient, training=False)
    twin = gn.build(network.spec, engine="torch", device="cpu", dtype="float64")
    twin.load_state_dict(network.state_dict())
    x = torch.tensor(images, requires_grad=True)
    module = twin.module.eval()
    module.zero_grad()
    module(x).backward(torch.tensor(logits_gradient))
    gradients = {key: parameter.grad.numpy() for key, parameter in module.named_parameters()}
    buffers = {key: array for key, array in network.state_dict().items() if key not in gradients}
    expected = {"gradients": gradients, "buffers": buffers, "images": {"dx": x.grad.numpy()}}
    assert largest_error(results, expected) < (TOLERANCE, "")


def test_outputs_have_the_parts_of_a_block(javascript):
    results = page_results(javascript, *random_case(gn.spec("tiny-bn", blocks=(1, 1), shortcut="projection"), 2))
    outputs, gradients, paths = (results[key] for key in ("outputs", "outputGradients", "pathGradients"))
    assert outputs["input"].shape == (2, 1, 8, 8)
    assert outputs.keys() == gradients.keys()
    for block in ("layer1.0", "layer2.0"):
        body, shortcut = outputs[f"{block}.bn2"], outputs[f"{block}.shortcut"]
        np.testing.assert_array_equal(outputs[f"{block}.sum"], body + shortcut)
        np.testing.assert_array_equal(gradients[f"{block}.input"], paths[block]["body"] + paths[block]["shortcut"])
    np.testing.assert_array_equal(outputs["layer2.0.input"], outputs["layer1.0"])
    np.testing.assert_array_equal(outputs["layer2.0.shortcut"], outputs["layer2.0.downsample.1"])
    np.testing.assert_array_equal(paths["layer1.0"]["shortcut"], gradients["layer1.0.sum"])


@pytest.mark.parametrize(
    ("bug", "preset"),
    [
        ("lost skip gradient", "tiny"),
        ("flipped kernel", "tiny"),
        ("missing mean term", "tiny-bn"),
        ("forgotten mask", "tiny"),
    ],
)
def test_bug_changes_backward_alone(javascript, bug, preset):
    network, images, logits_gradient = random_case(gn.spec(preset), 3)
    results = page_results(javascript, network, images, logits_gradient, bug=bug)
    expected = numpy_results(network, images, logits_gradient)
    assert relative_error(results["gradients"]["conv1.weight"], expected["gradients"]["conv1.weight"]) > 1e-3
    assert relative_error(results["gradients"]["fc.weight"], expected["gradients"]["fc.weight"]) < TOLERANCE
    same = {group: expected[group] for group in ("outputs", "buffers")}
    assert largest_error(results, same) < (TOLERANCE, "")


EDITED = """
    const network = new Network(graph);
    network.load(state);
    const sets = muted.map(([name, channels]) => [name, new Set(channels)]);
    const edits = {skipsOff: new Set(skipsOff), muted: new Map(sets)};
    network.forward(images.data, images.shape[0], {edits, training: true});
    network.backward(logitsGradient.data);
    const {outputs, outputGradients, pathGradients, gradients} = network;
    return {outputs, outputGradients, pathGradients, gradients};
"""


def edited_results(javascript, network, images, logits_gradient, skips_off=(), muted=()):
    return javascript(
        EDITED,
        graph=gn.graph(network.spec),
        state=network.state_dict(),
        images=images,
        logitsGradient=logits_gradient,
        skipsOff=list(skips_off),
        muted=[[name, list(channels)] for name, channels in dict(muted).items()],
    )


def test_network_with_skips_off_is_the_plain_network(javascript):
    spec = gn.spec("tiny-bn", blocks=(1, 1), shortcut="projection")
    network, images, logits_gradient = random_case(spec, 3)
    results = edited_results(javascript, network, images, logits_gradient, ["layer1.0", "layer2.0"])
    plain = gn.build(spec.replace(skip=False), dtype="float64")
    plain.load_state_dict({key: array for key, array in network.state_dict().items() if "downsample" not in key})
    expected = numpy_results(plain, images, logits_gradient)
    assert largest_error(results, {"gradients": expected["gradients"]}) < (TOLERANCE, "")
    assert not any(results["gradients"][key].any() for key in results["gradients"] if "downsample" in key)
    assert results["pathGradients"]["layer1.0"]["shortcut"] is None


def test_muted_channels_are_channels_with_weights_of_0(javascript):
    network, images, logits_gradient = random_case(gn.spec("tiny"), 3)
    muted = {"layer1.0.conv1": [1, 6], "layer1.0": [2]}
    results = edited_results(javascript, network, images, logits_gradient, muted=muted)
    state = network.state_dict()
    for key in ("layer1.0.conv1.weight", "layer1.0.conv1.bias"):
        state[key][[1, 6]] = 0
    state["fc.weight"].reshape(10, 8, 16)[:, 2] = 0  # the fully connected layer reads 8 channels of 4x4 pixels
    network.load_state_dict(state)
    expected = numpy_results(network, images, logits_gradient)["gradients"]
    for key in ("layer1.0.conv1.weight", "layer1.0.conv1.bias"):
        expected[key][[1, 6]] = 0
    expected["fc.weight"].reshape(10, 8, 16)[:, 2] = 0
    assert largest_error(results, {"gradients": expected}) < (TOLERANCE, "")
    for values in (results["outputs"]["layer1.0"]["data"], results["outputGradients"]["layer1.0"]):
        assert not values.reshape(3, 8, 64)[:, 2].any()
        assert values.reshape(3, 8, 64)[:, 3].any()


def test_muted_body_leaves_the_gradient_of_the_shortcut(javascript):
    """The sum's gradient goes to both paths; muting the body's last layer must not change the array that both get."""
    network, images, logits_gradient = random_case(gn.spec("tiny"), 3)
    results = edited_results(javascript, network, images, logits_gradient, muted={"layer1.0.conv2": range(8)})
    paths = results["pathGradients"]["layer1.0"]
    assert not paths["body"].any()
    np.testing.assert_array_equal(paths["shortcut"], results["outputGradients"]["layer1.0.sum"])
    assert paths["shortcut"].any()


def test_muted_block_leaves_the_outputs_of_its_parts(javascript):
    network, images, logits_gradient = random_case(gn.spec("tiny-bn", preactivation=True), 3)
    results = edited_results(javascript, network, images, logits_gradient, muted={"layer1.0": range(16)})
    assert not results["outputs"]["layer1.0"]["data"].any()
    assert results["outputs"]["layer1.0.sum"]["data"].any()


def test_forward_gives_the_same_after_passes_of_other_sizes(javascript):
    network, images, _ = random_case(gn.spec("tiny-bn", blocks=(1, 1)), 5)
    first, again = javascript(
        """
        const network = new Network(graph), part = images.data.subarray(0, 3 * 64);
        network.load(state);
        const first = network.forward(part, 3).slice();
        for (const count of [5, 1, 4]) {
          network.backward(network.forward(images.data.subarray(0, count * 64), count, {training: true}).slice());
        }
        network.load(state);
        return [first, network.forward(part, 3)];
        """,
        graph=gn.graph(network.spec),
        state=network.state_dict(),
        images=images,
    )
    np.testing.assert_array_equal(first, again)
    assert relative_error(first, network.logits(images[:3])) < TOLERANCE


def test_backward_without_the_gradient_of_the_images_leaves_it_out(javascript):
    network, images, logits_gradient = random_case(gn.spec("tiny"), 2)
    dx, gradients, all_gradients = javascript(
        """
        const network = new Network(graph);
        network.load(state);
        network.forward(images.data, 2, {training: true});
        const dx = network.backward(logitsGradient.data, {inputGradient: false});
        const gradients = mapValues(network.gradients, (gradient) => gradient.slice());
        network.backward(logitsGradient.data);
        return [dx, gradients, network.gradients];
        """,
        graph=gn.graph(network.spec),
        state=network.state_dict(),
        images=images,
        logitsGradient=logits_gradient,
    )
    assert dx is None
    for key, gradient in all_gradients.items():
        np.testing.assert_array_equal(gradients[key], gradient)


def test_state_dict_gives_back_what_was_loaded_in_the_order_of_its_keys(javascript):
    network = gn.build("resnet20", seed=4, dtype="float64")
    state = javascript(
        "const network = new Network(graph); network.load(state); return network.stateDict();",
        graph=gn.graph(network.spec),
        state=network.state_dict(),
    )
    assert list(state) == list(network.state_dict())
    for key, array in network.state_dict().items():
        assert tuple(state[key]["shape"]) == array.shape
        np.testing.assert_array_equal(state[key]["data"], array.ravel())


def test_load_refuses_a_state_without_a_key_and_accepts_one_without_counts(javascript):
    network = gn.build("tiny-bn", seed=4, dtype="float64")
    body = "new Network(graph).load(state);"
    state = {key: array for key, array in network.state_dict().items() if "num_batches_tracked" not in key}
    javascript(body, graph=gn.graph(network.spec), state=state)
    del state["fc.bias"]
    with pytest.raises(JavaScriptError, match=r"^state must have fc\.bias\. Got none\.$"):
        javascript(body, graph=gn.graph(network.spec), state=state)


def test_network_refuses_an_unknown_kind_of_layer(javascript):
    graph = gn.graph(gn.spec("tiny"))
    graph["children"][0]["kind"] = "Conv3d"
    with pytest.raises(JavaScriptError, match=r"^kind of conv1 must be one of Conv2d, .*\. Got Conv3d\.$"):
        javascript("new Network(graph);", graph=graph)


@pytest.mark.parametrize("name", ["three blocks", "pre-activation, projection", "zero-pad, odd sizes"])
def test_forward_again_with_other_edits_has_the_bits_of_a_whole_pass(javascript, name):
    preset, fields = NETWORKS[name]
    spec = gn.spec(preset, **fields)
    network, images, logits_gradient = random_case(spec, 2)
    same, counts = javascript(
        """
        const again = new Network(graph), counts = [], same = [];
        again.load(state);
        const blocks = again.layers().filter((layer) => layer instanceof Residual).map(({name}) => name);
        const layers = again.layers().filter((layer) => layer instanceof Conv2d), last = blocks.at(-1);
        let calls = 0;
        for (const layer of layers) {
          const output = layer.output;
          layer.output = function (...values) { calls++; return output.apply(this, values); };
        }
        const skips = (...names) => ({skipsOff: new Set(names), muted: new Map()});
        const muted = (layer, ...channels) => ({skipsOff: new Set(), muted: new Map([[layer, new Set(channels)]])});
        const conv = layers.at(-1).name, steps = [NO_EDITS, skips(last), NO_EDITS, skips(...blocks), skips(blocks[0]),
          muted(conv, 0), muted(conv, 0, 1), muted(last, 1), muted(blocks[0], 0), NO_EDITS, NO_EDITS];
        steps.forEach((edits, place) => {
          const whole = new Network(graph), passes = [];
          whole.load(state);
          calls = 0;
          for (const [one, isAgain] of [[whole, false], [again, place > 0]]) {
            one.forward(images.data, images.shape[0], {edits, again: isAgain});
            one.backward(logitsGradient.data);
            const {outputs, outputGradients, gradients} = one;
            passes.push(JSON.stringify([outputs, outputGradients, gradients], (key, value) =>
              ArrayBuffer.isView(value) ? [...value] : value));
          }
          same.push(passes[0] === passes[1]);
          counts.push(calls);
        });
        return [same, counts];
        """,
        graph=gn.graph(spec),
        state=network.state_dict(),
        images=images,
        logitsGradient=logits_gradient,
    )
    assert all(same), same
    assert counts[0] == max(counts) > counts[1]  # the last block's skip leaves the first layers as they are
    assert counts[-1] == 0  # no edit, no work
