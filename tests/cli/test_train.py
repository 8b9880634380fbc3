from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.weights import save_tensors
from tests.calls import Call, caller

SPEC = gn.spec("resnet20", width=2, blocks=1, classes=3)
FOUND = (
    "has the weights of resnet20 with classes 3, width 2, blocks 1+1+1. Assumed, as the weights do not say: image_size "
    "32×32; bn_eps 1e-05; pool none; skip connections, zero-padded where the shape changes (option A)\n"
)


@pytest.fixture
def glassnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """``glassnet ...`` in this process, inside ``tmp_path``, beside foreign.safetensors: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    state = gn.build(SPEC).state_dict()
    save_tensors(Path("foreign.safetensors"), {f"net.{key}": array for key, array in state.items()})

    return caller(monkeypatch, capsys)


def test_import_recognizes_the_model(glassnet: Call) -> None:
    statistics = ("--mean", ".5,.5,.5", "--std", ".2,.2,.2")
    code, out, err = glassnet("import", "foreign.safetensors", "--classes", "a,b,c", *statistics, "--run", "run")
    assert (code, out) == (0, "run holds 1,293 parameters of foreign.safetensors\n")
    assert err == f"foreign.safetensors {FOUND}"
    assert gn.load("run").network.spec == SPEC
    np.testing.assert_array_equal(
        gn.load("run").network.state_dict()["fc.weight"], gn.build(SPEC).state_dict()["fc.weight"]
    )


def test_import_changes_fields_of_the_recognized_model(glassnet: Call) -> None:
    options = ("--classes", "a,b,c", "--mean", ".5,.5,.5", "--std", ".2,.2,.2", "--bn-eps", "1e-3")
    code, _, err = glassnet("import", "foreign.safetensors", *options, "--run", "run")
    assert (code, err) == (0, f"foreign.safetensors {FOUND}")
    assert gn.load("run").network.spec == SPEC.replace(bn_eps=1e-3)


def test_import_says_what_must_be_given(glassnet: Call) -> None:
    told = "Error: classes must be 3 names, in the order of the outputs. Got none.\n"
    assert glassnet("import", "foreign.safetensors", "--run", "run") == (1, "", f"foreign.safetensors {FOUND}{told}")
    told = (
        "Error: mean and std must be those of the images that the weights expect. Got none. Networks of "
        "pytorch_resnet_cifar10 have mean 0.485,0.456,0.406 and std 0.229,0.224,0.225.\n"
    )
    result = glassnet("import", "foreign.safetensors", "--classes", "a,b,c", "--run", "run")
    assert result == (1, "", f"foreign.safetensors {FOUND}{told}")
    assert not Path("run").exists()


def test_summary_prints_the_layers_of_a_weights_file(glassnet: Call) -> None:
    code, out, err = glassnet("summary", "foreign.safetensors")
    assert (code, err) == (0, f"foreign.safetensors {FOUND}")
    assert out == glassnet("summary", "resnet20", "--width", "2", "--blocks", "1", "--classes", "3")[1]
