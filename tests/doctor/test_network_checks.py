from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import nn
from glassnet.architecture import initial_state_dict
from glassnet.doctor import network_checks
from glassnet.doctor.context import Evidence
from glassnet.progress import Progress
from glassnet.weights import save_tensors


def begun(tmp_path: Path, change: Any, **fields: Any) -> Evidence:
    """The evidence of a run that began with changed weights."""
    spec = gn.spec("tiny", **fields)
    state = initial_state_dict(spec, 0)
    for key, array in state.items():
        change(key, array)
    save_tensors(tmp_path / "begun.safetensors", state)
    given = {"init": tmp_path / "begun.safetensors", "run": tmp_path / "run", "lr": 1e-6, "epochs": 1}
    gn.train(spec, "digits", samples=200, progress=Progress(), **given)
    return Evidence(tmp_path / "run")


class TestGradient:
    def test_right(self, seen: Evidence) -> None:
        assert network_checks.WrongGradient().read(seen).sure is None

    def test_planted(self, seen: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
        right = nn.Linear.backward

        def wrong(layer: nn.Linear, dy: Any) -> Any:
            dx = right(layer, dy)
            layer.bias.grad *= 1.1
            return dx

        monkeypatch.setattr(nn.Linear, "backward", wrong)
        reading = network_checks.WrongGradient().read(seen)
        assert reading.sure == "high"
        assert reading.says.startswith("At fc.bias backward gives")

    def test_of_another_engine(self, retold: Any) -> None:
        told = network_checks.WrongGradient().read(retold(engine="torch"))
        assert told == "the torch engine's gradients come from autograd, not from glassnet's layers"

    def test_of_a_network_too_large(self, seen: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network_checks, "_MOST_PARAMETERS", 100)
        assert "run 'glassnet check gradients tiny'" in network_checks.WrongGradient().read(seen)


class TestDead:
    def test_alive(self, seen: Evidence) -> None:
        assert network_checks.DeadFromTheStart().read(seen).sure is None
        assert network_checks.DiedInTraining().read(seen).sure is None

    def test_from_the_start(self, tmp_path: Path) -> None:
        def silence(key: str, array: Any) -> None:
            if key.endswith("bias"):
                array[: len(array) // 2] = -100

        evidence = begun(tmp_path, silence)
        assert network_checks.DeadFromTheStart().read(evidence).sure == "high"
        reading = network_checks.DiedInTraining().read(evidence)
        assert reading.sure == "high"
        assert reading.value == pytest.approx(0.5, abs=0.1)

    def test_the_share_counts_channels(self) -> None:
        """Two of the stem's eight channels are dead, and so are those of the block's inner ReLU that get a −∞ bias."""
        network = gn.build("tiny")
        images = np.random.default_rng(0).random((16, 1, 8, 8)).astype(np.float32)
        before = network_checks.dead_share(network, images)
        state = network.state_dict()
        state["layer1.0.conv1.bias"][:] = -1e6
        network.load_state_dict(state)
        assert network_checks.dead_share(network, images) >= max(before, 8 / 24)


class TestInitialization:
    def test_he(self, seen: Evidence) -> None:
        reading = network_checks.BadInitialization().read(seen)
        assert (reading.sure, reading.value < 10) == (None, True)

    @pytest.mark.parametrize(("by", "verb"), [(0.1, "vanish"), (10, "explode")])
    def test_scaled(self, tmp_path: Path, by: float, verb: str) -> None:
        def scale(key: str, array: Any) -> None:
            array *= by

        reading = network_checks.BadInitialization().read(begun(tmp_path, scale, skip=False, blocks=2))
        assert reading.sure == "high"
        assert f"activations {verb}" in reading.says or f"gradients {verb}" in reading.says

    def test_odd_but_it_learned(self, retold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network_checks, "signal_change", lambda *given: (1e3, 1.0))
        learned = {"loss": 0.9, "train_accuracy": 0.9, "test_accuracy": 0.9}
        assert network_checks.BadInitialization().read(retold([learned])).sure == "low"
        assert network_checks.BadInitialization().read(retold([{**learned, "loss": 2.2}])).sure == "high"

    def test_a_signal_that_is_lost(self, retold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network_checks, "signal_change", lambda *given: (0.0, float("nan")))
        assert network_checks.BadInitialization().read(retold([{"loss": 2.3}])).sure == "high"
