"""Studies: why residual networks work, shown on the reader's own images and networks.

A module for each. Its ``measure(...)`` returns a frozen dataclass, a ``Study``, that holds numbers and says in
``words`` what they mean; its ``compose(study)`` makes the page. Figures are functions in ``insight/figures``.
"""

from glassnet.studies import ablation, convolution, degradation, gradient_flow, lr_range, parameters, sweep
from glassnet.studies.study import Study

__all__ = ["Study", "ablation", "convolution", "degradation", "gradient_flow", "lr_range", "parameters", "sweep"]
