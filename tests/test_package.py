"""What a person gets who installs the package: a light import, names that exist, a wheel that trains without torch."""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import glassnet
from tests.without_torch import BLOCK_TORCH

ROOT = Path(__file__).parents[1]
LOADED_ON_DEMAND = [
    "PIL",
    "jinja2",
    "onnx",
    "onnxruntime",
    "pandas",
    "plotly",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "typer",
]


def python(program: str, *arguments: str, cwd: Path | None = None) -> str:
    """What ``program`` prints in an interpreter of its own, where no other test has imported anything."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, encoding="utf-8").stdout


def test_import_takes_less_than_half_a_second() -> None:
    program = "import time; start = time.perf_counter(); import glassnet; print(time.perf_counter() - start)"
    seconds = [float(python(program)) for _ in range(5)]
    assert statistics.median(seconds) < 0.5, seconds


def test_import_loads_only_what_every_use_needs() -> None:
    loaded = python("import sys, glassnet; print(*sys.modules)").split()
    assert not set(LOADED_ON_DEMAND) & set(loaded)


def test_help_needs_no_numpy() -> None:
    loaded = python("import sys, glassnet.cli; print(*sys.modules)").split()
    assert not {"numpy", "PIL", "safetensors", "glassnet.data", "glassnet.nn"} & set(loaded)


def test_every_public_name_is_exported_and_can_be_had() -> None:
    public = {"Dataset", "GlassnetError", "Recipe", "ResNetSpec"}
    public |= {"build", "compare", "diagnose", "graph", "load", "load_data", "load_weights", "report", "spec", "train"}
    assert public <= set(glassnet.__all__)
    assert len(glassnet.__all__) == len(set(glassnet.__all__))
    assert set(glassnet.__all__) <= set(dir(glassnet))
    for name in glassnet.__all__:
        assert getattr(glassnet, name) is not None


IMPORT_EVERYTHING = """
import importlib, inspect, pkgutil
import glassnet

for module in pkgutil.walk_packages(glassnet.__path__, "glassnet."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in glassnet.__all__:
    value = getattr(glassnet, name)
    assert callable(value) and not inspect.ismodule(value), name
"""


def test_public_functions_stay_functions_after_importing_every_module() -> None:
    # Importing a subpackage overwrites an attribute of its name.
    python(IMPORT_EVERYTHING)


COURSE_ON_DEMAND = """
import sys
import glassnet as gn

assert "glassnet.course" not in sys.modules
print(gn.course.check("relu_backward", lambda dy, saved: dy * saved[0]).passed, *sys.modules)
"""


def test_course_is_imported_when_it_is_first_used() -> None:
    passed, *loaded = python(COURSE_ON_DEMAND).split()
    assert passed == "True"
    assert not set(LOADED_ON_DEMAND) & set(loaded)


def test_no_module_has_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in (ROOT / "src/glassnet").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(glassnet.__all__)


def test_the_package_is_typed() -> None:
    assert (ROOT / "src/glassnet/py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trian"):
        glassnet.trian  # noqa: B018


def test_the_changelog_tells_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert newest[0] == "Unreleased"
    assert len(newest) == 1 or newest[1] == glassnet.__version__


WITHOUT_TORCH = f"""{BLOCK_TORCH}import glassnet
run = glassnet.train("tiny", data="digits", epochs=3, run=sys.argv[1])
print(run.metrics["test_accuracy"])
assert "torch" not in sys.modules
"""


def test_training_needs_no_torch(tmp_path: Path) -> None:
    assert float(python(WITHOUT_TORCH, str(tmp_path / "run")).split()[-1]) > 0.8


NEITHER_STATISTICS_NOR_FIGURES = """
import sys
import numpy as np
import glassnet
import glassnet.cli.app

images, labels = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1)).astype(np.uint8), np.arange(20) % 10
data = glassnet.Dataset(images, labels, test_images=images, test_labels=labels)
glassnet.train("tiny", data=data, epochs=1, run=sys.argv[1], report=False)
model = glassnet.load(sys.argv[1])
model.evaluate(data)
model.predict(images)
print(*sys.modules)
"""


def test_train_evaluate_and_predict_do_not_import_statistics_or_figures(tmp_path: Path) -> None:
    loaded = python(NEITHER_STATISTICS_NOR_FIGURES, str(tmp_path / "run")).split()
    assert not {"scipy.stats", "plotly"} & set(loaded)


TORCH_TRAINING = """
import sys
import numpy as np
import glassnet as gn

network = gn.build("tiny", engine="torch")
for optimizer in ("sgd", "adam", "adamw"):
    trainer = network.trainer(gn.Recipe(optimizer=optimizer, clip_grad_norm=1.0))
    trainer.step(np.zeros((4, 1, 8, 8), np.float32), np.arange(4))
print(*sys.modules)
"""


def test_the_torch_engine_does_not_import_the_compiler() -> None:
    pytest.importorskip("torch")
    assert not {"torch._dynamo", "sympy"} & set(python(TORCH_TRAINING).split())


@pytest.mark.slow
def test_the_wheel_trains_in_an_environment_of_its_own(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def call(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return done.stdout

    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels", ROOT)
    (wheel,) = (tmp_path / "wheels").iterdir()
    call(sys.executable, "-m", "venv", "--without-pip", "venv")  # this one's pip fills it
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = ("--python", scripts / "python", "install", "--no-compile", "--constraint", ROOT / "requirements.lock")
    call(*pip, *install, wheel)

    call(scripts / "glassnet", "train", "digits", "--epochs", "3", "--run", "run")
    *_, last = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(last)["test_accuracy"] > 0.8
    assert (tmp_path / "run" / "report.html").stat().st_size > 0
    call(scripts / "glassnet", "explore", "run")
    live = (tmp_path / "run" / "explore.html").read_text(encoding="utf-8")
    assert all(part in live for part in ("class Network", "htmPreact", "--background: light-dark"))
    assert call(scripts / "python", "-c", "from importlib.util import find_spec; print(find_spec('torch'))") == "None\n"
