import numpy as np

from glassnet.bench import machine


def test_describe_machine_has_processor_and_versions() -> None:
    found = machine.describe_machine()
    assert list(found) == ["processor", "cores", "system", "python", "glassnet", "numpy", "torch", "blas"]
    assert found["processor"]
    assert found["numpy"] == np.__version__
    assert "openblas" in str(found["blas"])


def test_version_of_a_missing_package_is_none() -> None:
    assert machine._version("no-such-package") is None
