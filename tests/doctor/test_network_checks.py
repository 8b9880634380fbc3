from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.doctor import network_checks
from glassnet.doctor.check import CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.initialization import initial_state_dict
from glassnet.progress import Progress
from glassnet.weights import save_tensors


def context_from(tmp_path: Path, change: Any, **fields: Any) -> CheckContext:
    """The context of a run that started from changed weights."""
    spec = gn.spec("tiny", **fields)
    state = initial_state_dict(spec, 0)
    for key, array in state.items():
        change(key, array)
    save_tensors(tmp_path / "initial.safetensors", state)
    given = {"init": tmp_path / "initial.safetensors", "run": tmp_path / "run", "lr": 1e-6, "epochs": 1}
    gn.train(spec, "digits", samples=200, progress=Progress(), report=False, **given)
    return CheckContext(tmp_path / "run")


class TestWrongGradient:
    def test_passes(self, healthy_context: CheckContext) -> None:
        assert network_checks.WrongGradient().run(healthy_context).confidence is None

    def test_finds_a_planted_bug(self, healthy_context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
        backward = nn.Linear.backward

        def wrong_backward(layer: nn.Linear, dy: Any) -> Any:
            dx = backward(layer, dy)
            layer.bias.grad *= 1.1
            return dx

        monkeypatch.setattr(nn.Linear, "backward", wrong_backward)
        result = network_checks.WrongGradient().run(healthy_context)
        assert result.confidence == "high"
        assert result.message.startswith("At fc.bias backward gives")

    def test_is_skipped_for_another_engine(self, make_context: Any) -> None:
        with pytest.raises(
            CheckSkippedError, match=r"^the torch engine's gradients come from autograd, not from glass"
        ):
            network_checks.WrongGradient().run(make_context(engine="torch"))

    def test_is_skipped_for_a_large_network(
        self, healthy_context: CheckContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(network_checks, "_MAX_PARAMETERS", 100)
        with pytest.raises(CheckSkippedError, match=r"run 'glassnet check gradients tiny'$"):
            network_checks.WrongGradient().run(healthy_context)


class TestDeadRelu:
    def test_passes(self, healthy_context: CheckContext) -> None:
        assert network_checks.DeadReluAtInit().run(healthy_context).confidence is None
        assert network_checks.DeadReluAfterTraining().run(healthy_context).confidence is None

    def test_finds_large_negative_biases(self, tmp_path: Path) -> None:
        def silence(key: str, array: Any) -> None:
            if key.endswith("bias"):
                array[: len(array) // 2] = -100

        context = context_from(tmp_path, silence)
        assert network_checks.DeadReluAtInit().run(context).confidence == "high"
        result = network_checks.DeadReluAfterTraining().run(context)  # the training silenced none of them
        assert (result.confidence, result.measured.count("50%")) == (None, 2)
        assert [str(remedy) for remedy in network_checks.DeadReluAtInit().remedies(context, result)] == [
            "look at the biases of the weights in --init: they silence these channels",
            "start from new random weights (He et al. 2015b): leave --init out",
            "use BatchNorm, which makes activations independent of the weights' scale: --norm batch",
        ]

    @pytest.mark.parametrize(("better", "first"), [(0.033, "--lr 0.033"), (1.0, "--clip-grad-norm 1")])
    def test_counts_what_the_training_silenced(
        self, make_context: Any, set_short_runs: Any, better: float, first: str
    ) -> None:
        set_short_runs({0.1: 5.0, better: 1.0})
        context, check = make_context([{"loss": 2.3}, {"loss": 9.0}]), network_checks.DeadReluAfterTraining()
        state = context.network.state_dict()
        state["layer1.0.conv1.bias"][:] = -1e6
        context.network.load_state_dict(state)
        result = check.run(context)
        assert (result.confidence, result.value) == ("high", pytest.approx(10 / 24))
        assert str(check.remedies(context, result)[0]).endswith(first)

    def test_is_skipped_for_few_images(self, make_context: Any) -> None:
        context = make_context()
        data = context.dataset
        context.dataset = gn.Dataset.from_splits(
            data.train.take(np.unique(data.train.labels, return_index=True)[1]), data.test, data.classes
        )
        with pytest.raises(CheckSkippedError, match=r"too few to call a channel dead$"):
            network_checks.DeadReluAtInit().run(context)

    def test_dead_fraction_counts_channels(self) -> None:
        """All 8 of the 24 channels behind a ReLU that get a bias of −1e6 are dead."""
        network = gn.build("tiny")
        images = np.random.default_rng(0).random((16, 1, 8, 8)).astype(np.float32)
        before = network_checks.dead_fraction(network, images)
        state = network.state_dict()
        state["layer1.0.conv1.bias"][:] = -1e6
        network.load_state_dict(state)
        assert network_checks.dead_fraction(network, images) >= max(before, 8 / 24)


class TestBadInitialization:
    def test_passes(self, healthy_context: CheckContext) -> None:
        result = network_checks.BadInitialization().run(healthy_context)
        assert (result.confidence, result.value < 10) == (None, True)

    @pytest.mark.parametrize(("factor", "verb"), [(0.1, "vanish"), (10, "explode")])
    def test_finds_scaled_weights(self, tmp_path: Path, factor: float, verb: str) -> None:
        def scale(key: str, array: Any) -> None:
            array *= factor

        result = network_checks.BadInitialization().run(context_from(tmp_path, scale, skip=False, blocks=2))
        assert result.confidence == "high"
        assert f"activations {verb}" in result.message or f"gradients {verb}" in result.message

    @pytest.mark.parametrize(("loss", "confidence"), [(0.9, "low"), (2.2, "high")])
    def test_has_low_confidence_if_the_network_learned(
        self, make_context: Any, monkeypatch: pytest.MonkeyPatch, loss: float, confidence: str
    ) -> None:
        monkeypatch.setattr(network_checks, "signal_change", lambda *arguments: (1e3, 1.0))
        context = make_context([{"loss": loss, "train_accuracy": 0.9, "test_accuracy": 0.9}])
        assert network_checks.BadInitialization().run(context).confidence == confidence

    def test_finds_a_lost_signal(self, make_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network_checks, "signal_change", lambda *arguments: (0.0, float("nan")))
        assert network_checks.BadInitialization().run(make_context([{"loss": 2.3}])).confidence == "high"
