"""A pass in which each operation reads the port's own tensors."""

import numpy as np
import pytest

import glassnet as gn
from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.operations import operations
from glassnet.verify.golden.reference import Computed, Site, compute

SPEC = gn.spec("tiny", width=3)
CASE = GoldenCase(SPEC, batch_size=3)
IMAGES, LABELS = CASE.batch()
GIVEN = PassInputs(IMAGES, LABELS, CASE.state())


def evaluation(**port: dict[str, np.ndarray]) -> PassEvaluation:
    return PassEvaluation(operations(SPEC), GIVEN, PortTensors(**port))


def test_evaluation_without_a_port_is_the_networks_own_pass() -> None:
    network = gn.build(SPEC, dtype="float64")
    network.load_state_dict(CASE.state())
    traced = network.trace(IMAGES, LABELS)
    whole = evaluation()
    for name, activation in traced.activations.items():
        np.testing.assert_allclose(whole.value(name), activation, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(whole.gradient(name), traced.activation_gradients[name], rtol=1e-11, atol=1e-14)
    assert float(whole.value("loss")) == pytest.approx(traced.loss, rel=1e-13)


def test_an_operation_reads_the_ports_tensor_and_those_before_do_not() -> None:
    own = evaluation().value("conv1")
    judged = evaluation(outputs={"conv1": own + 1})
    np.testing.assert_array_equal(judged.expected("conv1"), own)  # what the port should have had
    np.testing.assert_array_equal(judged.value("relu"), np.maximum(own + 1, 0))


def test_a_backward_pass_reads_the_ports_gradient() -> None:
    plain = evaluation()
    judged = evaluation(gradients={"flatten": 2 * plain.gradient("flatten")})
    np.testing.assert_array_equal(judged.expected_gradient("flatten"), plain.gradient("flatten"))
    np.testing.assert_allclose(judged.expected_gradient("pool"), 2 * plain.gradient("pool"))


def test_the_gradient_of_a_blocks_input_is_the_sum_of_both_paths() -> None:
    plain = evaluation()
    paths = [plain.backward(f"layer1.0.{name}").inputs[0] for name in ("conv1", "shortcut")]
    np.testing.assert_allclose(plain.gradient("relu"), sum(paths))


def test_an_alternative_computes_its_operation_alone() -> None:
    def doubled(site: Site) -> Computed:
        right = compute(site)
        return Computed(2 * right.output, right.backward)

    plain = evaluation()
    other = plain.with_alternatives({"relu": doubled})
    np.testing.assert_array_equal(other.value("conv1"), plain.value("conv1"))
    np.testing.assert_array_equal(other.value("relu"), 2 * plain.value("relu"))
    np.testing.assert_array_equal(plain.value("relu"), np.maximum(plain.value("conv1"), 0))


def test_sources_end_at_the_tensors_that_the_port_has() -> None:
    whole = evaluation(outputs={"conv1": evaluation().value("conv1")})
    assert set(whole.forward_sources("layer1.0.conv1")) == {"relu", "layer1.0.conv1"}
    assert set(evaluation().forward_sources("layer1.0.conv1")) == {"conv1", "relu", "layer1.0.conv1"}
