"""Training in the page's engine against the NumPy engine, in float64."""

from dataclasses import asdict

import numpy as np
import pytest

import glassnet as gn
from glassnet.data import Normalization
from glassnet.engines.class_weights import balanced_weights
from glassnet.initialization import initial_state_dict
from glassnet.nn import functional
from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates

from ..sessions import largest_difference, open_session, train_run

TOLERANCE = {"tiny": 1e-12, "tiny-bn": 1e-11}  # of weights after a whole training

# Each setting of a recipe that the page computes, in one of them at least.
SETTINGS = {
    "cosine": {"model": "tiny", "schedule": "cosine", "warmup": 0.5, "momentum": 0.0, "lr": 0.1},
    "nesterov": {"model": "tiny", "schedule": "one-cycle", "nesterov": True, "weight_decay": 1e-2},
    "adam": {"model": "tiny", "optimizer": "adam", "lr": 1e-2, "weight_decay": 1e-2, "weight_decay_scope": "all"},
    "adamw": {"model": "tiny-bn", "optimizer": "adamw", "lr": 1e-2, "weight_decay": 1e-1, "schedule": "step"},
    "clip": {"model": "tiny", "clip_grad_norm": 0.5, "label_smoothing": 0.1, "body_lr": 0.3},
    "balanced": {"model": "tiny", "class_weights": "balanced", "label_smoothing": 0.2, "skip": False},
    "ema": {"model": "tiny-bn", "optimizer": "sgd", "lr": 0.05, "ema": 0.9, "zero_init": True},
    "one image left": {"model": "tiny-bn", "batch_size": 119},
}


@pytest.fixture(scope="module")
def few_digits() -> gn.Dataset:
    return gn.load_data("digits", samples=120, test_samples=40)


def assert_same_training(javascript, model, data, **options):
    open_session(javascript, model, data)
    answer = javascript("return session.train({from: 'initial', ...options});", options=options)
    difference = largest_difference(javascript("return session.state();"), model)
    assert difference <= TOLERANCE[model.network.spec.preset]
    assert javascript("return session.compare();")["difference"] == difference
    assert len(answer["history"]) == len(model.history)
    for own, record in zip(answer["history"], model.history, strict=True):
        for name in ("loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "gradient_norms"):
            assert own[name] == pytest.approx(record[name], rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_training_gives_the_weights_of_numpy_with_each_setting(javascript, tmp_path, few_digits, settings):
    model = train_run(tmp_path / "run", data=few_digits, recipe="tutorial", epochs=2, seed=7, **settings)
    assert_same_training(javascript, model, few_digits)


def test_training_gives_the_weights_of_numpy_from_the_other_seeds(javascript, tmp_path, few_digits):
    model = train_run(tmp_path / "run", "tiny", few_digits, epochs=1)
    seeds = open_session(javascript, model, few_digits)["config"]["seeds"]
    assert len(seeds) == 5
    for seed in seeds[1:]:
        other = train_run(tmp_path / str(seed), "tiny", few_digits, epochs=1, seed=seed)
        javascript("return session.train({from: 'initial', seed});", seed=seed)
        assert largest_difference(javascript("return session.state();"), other) <= TOLERANCE["tiny"]


def test_training_gives_the_weights_of_numpy_with_changed_settings(javascript, tmp_path, few_digits):
    model = train_run(tmp_path / "run", "tiny", few_digits, epochs=2)
    changes = {"lr": 0.02, "momentum": 0.5, "batch_size": 50, "epochs": 1}
    other = train_run(tmp_path / "other", "tiny", few_digits, **changes)
    open_session(javascript, model, few_digits)
    javascript("return session.train({from: 'initial', ...changes});", changes=changes)
    assert largest_difference(javascript("return session.state();"), other) <= TOLERANCE["tiny"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "recipe", "epochs"),
    [("tiny", "default", 10), ("tiny-bn", "tutorial", 3)],  # benchmarks/live_page.py: tiny-bn for ten epochs, too
)
def test_training_on_all_digits_gives_the_weights_of_numpy(javascript, tmp_path, preset, recipe, epochs):
    data = gn.load_data("digits")
    assert_same_training(javascript, train_run(tmp_path / "run", preset, data, recipe=recipe, epochs=epochs), data)


@pytest.mark.parametrize(
    "spec",
    [
        gn.spec("tiny"),
        gn.spec("tiny-bn", zero_init=True, blocks=2),
        gn.spec("resnet20", blocks=1, shortcut="projection"),
        gn.spec("resnet50", width=2, blocks=1, zero_init=True),
    ],
    ids=["tiny", "zero-init", "projection", "bottleneck"],
)
def test_initial_state_has_the_bits_of_python(javascript, spec):
    expected = initial_state_dict(spec, 5)
    normals = np.random.default_rng(5).standard_normal(sum(array.size for array in expected.values()))
    state = javascript("return initialState(graph, normals.data);", graph=gn.graph(spec), normals=normals)
    assert state.keys() == expected.keys()
    for key, array in expected.items():
        assert np.array_equal(state[key]["data"], array.ravel()), key


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
def test_learning_rates_are_those_of_python(javascript, schedule):
    for warmup in [0] if schedule == "one-cycle" else [0, 0.5, 2.5]:
        recipe = Recipe(schedule=schedule, warmup=warmup, epochs=5, lr=0.3)
        for steps in (1, 2, 5, 7, 430):  # of 5 steps, half are warm-up: rounded to even
            rates = javascript("return learningRates(recipe, steps);", recipe=recipe.to_dict(), steps=steps)
            assert rates == pytest.approx(learning_rates(recipe, steps), rel=1e-13, abs=1e-17), (warmup, steps)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_that_of_python(javascript, smoothing, weighted):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 100, (6, 4)), np.array([0, 1, 2, 0, 0, 1])
    weights = balanced_weights(np.bincount(labels, minlength=4)) if weighted else None
    if weighted:
        loss, saved = functional.weighted_cross_entropy(logits, labels, weights, smoothing)
        gradient = functional.weighted_cross_entropy_backward(1.0, saved)
    else:
        loss, saved = functional.cross_entropy(logits, labels, smoothing)
        gradient = functional.cross_entropy_backward(1.0, saved)
    result = javascript(
        "const classWeights = weighted ? balancedWeights(labels.data, 4) : null;"
        "return crossEntropy(logits.data, labels.data, {classes: 4, smoothing, classWeights});",
        **{"logits": logits, "labels": labels, "smoothing": smoothing, "weighted": weighted},
    )
    assert result["loss"] == pytest.approx(loss, rel=1e-14)
    assert result["gradient"] == pytest.approx(gradient.ravel(), abs=1e-15)
    assert result["probabilities"] == pytest.approx(functional.softmax(logits).ravel(), abs=1e-15)
    assert result["correct"] == (logits.argmax(axis=1) == labels).sum()


def test_cross_entropy_of_an_impossible_class_is_finite(javascript):
    body = "return crossEntropy(Float64Array.of(0, -Infinity), [0], {classes: 2});"
    assert javascript(body)["loss"] == 0


def test_normalize_has_the_bits_of_python(javascript):
    images = gn.load_data("digits", samples=20).train.images
    normalization = Normalization.from_images(images, 16)
    own = javascript(
        "return normalize(images, normalization);",
        images=images.transpose(0, 3, 1, 2),
        normalization=asdict(normalization),
    )
    assert np.array_equal(own, np.ascontiguousarray(normalization.apply(images, np.float64)).ravel())
