"""The settings of the computation: engine, device, dtype and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from glassnet.errors import ConfigError
from glassnet.settings import Settings, setting


@dataclass(frozen=True)
class Compute(Settings):
    """Settings of the computation. They change the speed and the rounding of a training, not its meaning.

    :raises ConfigError: if a field is out of its range, or belongs to the other engine.
    """

    title: ClassVar[str] = "compute"

    engine: Literal["numpy", "torch"] = setting(
        "numpy", "Engine: NumPy with gradients written by hand, or PyTorch (GPU, several devices)."
    )
    dtype: Literal["float32", "float64"] = setting(
        "float32", "Type of the numbers: float32 for training, float64 for gradient checks."
    )
    kernels: Literal["fast", "plain"] = setting(
        "fast", "Functions of the NumPy engine's layers: fast kernels, or the plain ones of nn/functional.py."
    )
    threads: int | None = setting(None, "Number of threads on a CPU. Default: all cores.", minimum=1)
    device: str = setting("auto", "Device of the PyTorch engine: auto, cpu, cuda, cuda:1 or mps.")
    devices: int = setting(
        1, "Number of this machine's GPUs, or of processes on a CPU, that share each batch (PyTorch engine).", minimum=1
    )
    all_reduce: Literal["tree", "torch"] = setting(
        "tree",
        "Sum of the gradients of several processes: along a tree, with the same bits on any number of processes, or by "
        "PyTorch's all-reduce, which is faster.",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = setting(
        None, "Precision of the PyTorch engine: float32, or float32 mixed with bfloat16 or float16. Default: 32-true."
    )
    compile: bool = setting(False, "Compile the network with torch.compile first (PyTorch engine).")
    channels_last: bool | None = setting(
        None, "Keep images channels-last in memory (PyTorch engine). Default: only on CUDA."
    )

    def check(self) -> None:
        """Check that the engine has every setting.

        :raises ConfigError: if a setting belongs to the other engine, or precision contradicts dtype.
        """
        allowed = _NUMPY_ALLOWED if self.engine == "numpy" else {"kernels": ("fast",)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                choices = " or ".join(map(repr, values))
                other = "torch" if self.engine == "numpy" else "numpy"
                raise ConfigError(
                    f"{name} must be {choices} for engine={self.engine!r}. Got {getattr(self, name)!r}. "
                    f"Add --engine {other}."
                )
        if self.dtype == "float64" and self.precision not in (None, "32-true"):
            raise ConfigError(f"precision must be None or '32-true' for dtype='float64'. Got {self.precision!r}.")


_NUMPY_ALLOWED = {
    "device": ("auto", "cpu"),
    "devices": (1,),
    "all_reduce": ("tree",),
    "precision": (None,),
    "compile": (False,),
    "channels_last": (None, True),
}
