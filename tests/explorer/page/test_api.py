"""window.glassnet, as a script uses it, against Python."""

import numpy as np
import pytest

import glassnet as gn


def test_graph_is_that_of_python(explore, digits_run) -> None:
    assert explore(digits_run).evaluate("glassnet.graph") == gn.graph(digits_run.network.spec)


def test_gradients_are_those_of_python(explore, digits_run) -> None:
    data = digits_run.load_dataset().test
    images, labels = data.images[:6], data.labels[:6]
    network = gn.load(digits_run.path, dtype="float64").network
    normalized = digits_run.normalization.apply(images, np.float64)
    loss, gradients = network.gradients(normalized, labels)
    answer = explore(digits_run).evaluate(
        """async ([shape, data, labels]) => {
            const {loss, gradients} = await glassnet.gradients({shape, data: Float64Array.from(data)}, labels);
            return {loss, gradients: Object.entries(gradients).map(([key, {shape, data}]) => [key, shape, [...data]])};
        }""",
        [[6, 1, 8, 8], normalized.ravel().tolist(), labels.tolist()],
    )
    assert answer["loss"] == pytest.approx(loss, rel=1e-12)
    assert len(answer["gradients"]) == len(gradients)
    for key, shape, values in answer["gradients"]:
        assert np.reshape(values, shape) == pytest.approx(gradients[key], abs=1e-13), key


def test_gradients_takes_nested_arrays_and_says_what_does_not_fit(explore, digits_run) -> None:
    loss, shape = explore(digits_run).evaluate(
        """async () => {
            const image = [Array.from({length: 8}, () => [0, 1, 0, 0, 2, 0, 0, 0])];
            const {loss, gradients} = await glassnet.gradients([image, image], [1, 2]);
            return [loss, gradients["fc.bias"].shape];
        }"""
    )
    assert np.isfinite(loss)
    assert shape == [10]
    message = explore(digits_run).evaluate("glassnet.gradients([[[[1, 2]]]], [0]).catch(({message}) => message)")
    assert message == "images must have shape (N, 1, 8, 8). Got 2 numbers of shape (1, 1, 1, 2)."


def test_train_gives_the_weights_of_the_run(explore, digits_run) -> None:
    """In a worker of Chromium, from the initial weights, with the run's recipe and order; twice the same."""
    answer = explore(digits_run).evaluate(
        """async () => {
            const ends = [];
            for (const options of [undefined, {steps: 2}, {from: "current"}]) {
                const {stepsDone, history} = await glassnet.train(options);
                const state = Object.entries(await glassnet.stateDict()).map(([key, {data}]) => [key, [...data]]);
                ends.push({stepsDone, history, state: Object.fromEntries(state)});
            }
            const {accuracy} = await glassnet.evaluate(), shown = store.state.weights["fc.bias"].data[0];
            return {ends, accuracy, shown};
        }"""
    )
    whole, start, rest = answer["ends"]
    assert whole["stepsDone"] == start["stepsDone"] + rest["stepsDone"] > start["stepsDone"] == 2
    assert whole["state"] == rest["state"] != start["state"]
    for key, array in digits_run.network.state_dict().items():
        assert whole["state"][key] == pytest.approx(array.ravel(), abs=1e-12), key
    assert answer["accuracy"] == digits_run.history[-1]["test_accuracy"]
    assert answer["shown"] == whole["state"]["fc.bias"][0]  # the page shows the weights that it has now


def test_train_says_what_is_wrong_with_a_setting(explore, digits_run) -> None:
    message = explore(digits_run).evaluate("glassnet.train({lr: 0}).catch(({message}) => message)")
    assert message == "lr must be a number above 0. Got 0."
