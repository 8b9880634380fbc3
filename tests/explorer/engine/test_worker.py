"""The session of the page's worker: trainings that pause, answers while one runs, and errors in a sentence."""

import numpy as np
import pytest

import glassnet as gn

from ..javascript import JavaScriptError
from ..sessions import largest_difference, open_session, train_run


@pytest.fixture(scope="module")
def data() -> gn.Dataset:
    return gn.load_data("digits", samples=120, test_samples=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory, data):
    return train_run(tmp_path_factory.mktemp("runs") / "run", "tiny-bn", data, epochs=2)


@pytest.fixture
def opened(javascript, model, data):
    open_session(javascript, model, data)
    return javascript


def test_open_answers_the_configuration_and_shows_the_trained_network(javascript, model, data):
    answer = open_session(javascript, model, data)
    assert answer["config"]["recipe"] == model.config["recipe"]
    assert answer["config"]["run"]["notes"] == []
    assert sorted(answer["keys"]) == sorted(key for key, _ in model.network.module.named_parameters())
    assert largest_difference(javascript("return session.state();"), model) == 0


def test_evaluate_is_that_of_python(opened, model, data):
    result = opened("return session.evaluate();")
    outcome = model.network.evaluate(data.test, model.normalization)
    assert result["accuracy"] == outcome.accuracy
    assert result["loss"] == pytest.approx(outcome.loss, rel=1e-12)
    assert result["predictions"].tolist() == outcome.predicted.tolist()


def test_trace_is_that_of_python_and_changes_nothing(opened, model, data):
    images, labels = data.train.images[:5], data.train.labels[:5]
    traced = model.network.trace(model.normalization.apply(images, np.float64), labels)
    answer = opened(
        "return session.trace({images, labels: [...labels.data], training: true});",
        images=images.transpose(0, 3, 1, 2),
        labels=labels,
    )
    assert answer["loss"] == pytest.approx(traced.loss, rel=1e-13)
    for key, gradient in traced.gradients.items():
        assert answer["gradients"][key] == pytest.approx(gradient.ravel(), abs=1e-13), key
    for name, gradient in traced.activation_gradients.items():
        assert answer["outputGradients"][name] == pytest.approx(gradient.ravel(), abs=1e-13), name
    assert largest_difference(opened("return session.state();"), model) == 0


def test_trace_without_labels_has_no_gradients(opened, data):
    answer = opened(
        "return session.trace({images, labels: [null]});", images=data.test.images[:1].transpose(0, 3, 1, 2)
    )
    assert answer.keys() == {"logits", "probabilities", "outputs", "weights"}


def test_trace_is_of_the_newest_weights_edits_and_image(opened, data):
    """Each trace starts where something has changed since the last one."""
    wrong = opened(
        """
        const shape = [1, 1, 8, 8], image = {shape, data: images.data.slice(0, 64)};
        const other = {shape, data: images.data.slice(64, 128)}, key = "conv1.weight";
        const off = {skipsOff: new Set(["layer1.0"]), muted: new Map()}, wrong = [];
        const changes = {
          nothing: () => {}, "a skip": () => session.setEdits({edits: off}), "the skip again": () =>
            session.setEdits({edits: NO_EDITS}),
          "a weight": () => session.setWeights({key, values: session.state()[key].data.map((value) => 2 * value)}),
          "a training": () => session.train({steps: 1}), evaluation: () => session.evaluate(),
          "all weights": () => session.load({state: payload}), "a network": () => session.choose({weights: "initial"}),
        };
        const payload = session.state(), {graph} = session.config.variants[0];
        for (const [name, change] of Object.entries(changes)) {
          for (const images of [image, other, other]) {
            if (images === image || name === "nothing") await change();
            const {logits} = session.trace({images, labels: [3]}), network = new Network(graph);
            network.load(session.state());
            const values = normalize(images, session.config.normalization), {edits} = session.entry();
            const expected = network.forward(values, 1, {edits});
            if (!logits.every((value, index) => value === expected[index])) wrong.push(name);
          }
          session.trace({images: image, labels: [3]}); // the next change comes to the same image
        }
        return wrong;
        """,
        images=data.test.images[:2].transpose(0, 3, 1, 2),
    )
    assert wrong == []


def test_training_with_pauses_gives_the_same_bits_as_without(opened, model):
    """Steps end anywhere in an epoch; a pause arrives while a training runs, on however quick a machine."""
    n_steps, pauses, same = opened(
        """
        await session.train({from: "initial"});
        const expected = session.state();
        let n = (await session.train({from: "initial", steps: 3})).stepsDone, pauses = 0, time = 0;
        performance.now = () => (time += 20); // a slice of work ends after two steps
        try {
          while (session.entries.main.trainer) {
            const training = session.train();
            await session.pause();
            n += (await training).stepsDone;
            pauses += session.entries.main.trainer ? 1 : 0;
          }
        } finally {
          delete performance.now;
        }
        const state = session.state();
        const isSame = (key) => state[key].data.every((value, i) => value === expected[key].data[i]);
        return [n, pauses, Object.keys(state).every(isSame)];
        """
    )
    assert same
    assert n_steps == 2 * -(-120 // model.config["recipe"]["batch_size"])
    assert pauses > 1


def test_messages_are_answered_while_a_training_runs(opened):
    order = opened(
        """
        const answered = [], port = {postMessage: ({id, event, error}) => answered.push(error ?? event ?? id)};
        serve(port);
        const send = (id, method, ...values) => port.onmessage({data: {id, method, arguments: values}});
        await send("open", "open", openedBytes);
        const training = send("train", "train", {from: "initial", epochs: 5000});
        await send("evaluate", "evaluate", {});
        await send("pause", "pause");
        await training;
        await send("unknown", "train", {lr: -1});
        return answered.filter((name) => name !== "step" && name !== "epoch");
        """
    )
    assert order[:2] == ["open", "evaluate"]
    assert set(order[2:4]) == {"pause", "train"}
    assert order[4:] == ["lr must be a number above 0. Got -1."]


def test_choosing_a_network_ends_its_training(opened):
    steps = opened(
        """
        const training = session.train({from: "initial", epochs: 5000});
        session.choose({variant: 1, weights: "initial"});
        return (await training).stepsDone;
        """
    )
    assert 0 < steps < 100  # those before the training first lets messages arrive


def test_twins_start_from_the_same_weights(opened):
    """The plain network draws the same kernels; it only lacks the additions."""
    main, twin = opened(
        """
        const plain = session.config.variants.findIndex(({skip}) => !skip);
        session.choose({weights: "initial"});
        session.choose({network: "twin", variant: plain, weights: "initial"});
        return [session.state(), session.state({network: "twin"})];
        """
    )
    assert main.keys() == twin.keys()
    assert all(np.array_equal(main[key]["data"], twin[key]["data"]) for key in main)


def test_watch_shows_the_update_of_one_weight(opened, model):
    update, lr = opened(
        """
        await session.train({from: "initial", steps: 2});
        await session.train({steps: 1, watch: {key: "fc.weight", index: 5}, momentum: 0.5});
        const [, {update, lr}] = events.at(-1);
        return [update, lr];
        """
    )
    decay, momentum = model.config["recipe"]["weight_decay"] * update["before"], update["carried"]["momentum"]
    assert momentum == pytest.approx(0.5 * update["carriedBefore"]["momentum"] + update["gradient"] + decay, rel=1e-13)
    step = update["gradient"] + decay + 0.5 * momentum  # Nesterov
    assert update["after"] == pytest.approx(update["before"] - lr * step, rel=1e-13)


def test_edits_hold_while_training(opened):
    """A muted channel learns nothing."""
    before, after = opened(
        """
        session.choose({weights: "initial"});
        const before = session.state();
        session.setEdits({edits: {skipsOff: new Set(), muted: new Map([["layer1.0.relu1", new Set([2])]])}});
        await session.train({steps: 2, weight_decay: 0});
        return [before, session.state()];
        """
    )
    changed = (before["layer1.0.conv1.weight"]["data"] != after["layer1.0.conv1.weight"]["data"]).reshape(16, -1)
    assert changed.any(axis=1).tolist() == [channel != 2 for channel in range(16)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("session.train({batch_size: 2.5})", "batch_size must be an integer of at least 1. Got 2.5."),
        ("session.train({momentum: 1})", "momentum must be a number from 0 to below 1. Got 1."),
        ("session.train({speed: 1})", "speed must be a setting of the run's recipe. Got 1."),
        ("session.train({from: 'initial', lr: 1e200})", "Training diverged in epoch 1: the loss became NaN at"),
        ("session.evaluate({network: 'other'})", "network must be one of main. Got other."),
        ("session.choose({seed: 99, weights: 'initial'})", "seed must be one of 42, 0, 1, 2, 3. Got 99."),
        ("session.choose({variant: 1})", "weights of a network other than the run's must be initial. Got trained"),
        ("session.setWeights({key: 'fc.bias', values: [1, NaN]})", "fc.bias must be 10 finite numbers. Got 2."),
    ],
)
def test_errors_are_one_sentence(opened, body, message):
    with pytest.raises(JavaScriptError) as error:
        opened(f"return await {body};")
    assert str(error.value).startswith(message)


def test_training_that_diverges_gives_the_weights_back(opened):
    before, after, message = opened(
        """
        await session.train({from: "initial", steps: "epoch"});
        const before = session.state(), message = await session.train({lr: 1e200}).catch((error) => error.message);
        return [before, session.state(), message];
        """
    )
    assert message.startswith("Training diverged in epoch 2: ")
    assert all(np.array_equal(after[key]["data"], before[key]["data"]) for key in before)


def test_weights_that_are_not_finite_are_reported_with_their_layer(javascript, model, data):
    broken = gn.load(model.path)
    state = model.network.state_dict()
    state["layer1.0.conv2.weight"][3, 1, 0, 0] = np.nan
    broken.network.load_state_dict(state)
    open_session(javascript, broken, data)
    for body in ("session.evaluate()", "session.trace({images: {shape: [1, 1, 8, 8], data: new Uint8Array(64)}})"):
        with pytest.raises(JavaScriptError, match=r"^layer1\.0\.conv2\.weight must be finite numbers\. Got NaN\.$"):
            javascript(f"return {body};")


def test_page_without_images_says_so(javascript, model):
    open_session(javascript, model, None)
    for body in ("session.evaluate()", "session.train()", "session.check()"):
        with pytest.raises(JavaScriptError, match=r"^The page must have images for this\. Got none"):
            javascript(f"return await {body};")
