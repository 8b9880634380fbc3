"""Studies: why residual networks work, shown on the reader's own images and networks.

Each study is a module. Its ``run_study(...)`` returns a ``Study``, a frozen dataclass of numbers whose ``summary``
states in sentences what they show; its ``build_page(study)`` makes the page.
"""

from glassnet.studies import (
    ablation,
    augmentation,
    convolution,
    degradation,
    gradient_flow,
    lr_range,
    parameters,
    sweep,
)
from glassnet.studies.study import Study

__all__ = [
    "Study",
    "ablation",
    "augmentation",
    "convolution",
    "degradation",
    "gradient_flow",
    "lr_range",
    "parameters",
    "sweep",
]
