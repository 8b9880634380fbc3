import math
from dataclasses import replace

from glassnet.studies import gradient_flow
from glassnet.studies.gradient_flow import GradientFlowStudy


def test_figures_leave_a_gap_for_norms_of_0_or_infinity(study: GradientFlowStudy) -> None:
    lost = replace(study.networks[0], norms=tuple((0.0, *norms[1:-1], math.inf) for norms in study.networks[0].norms))
    (line,) = gradient_flow.gradient_by_layer_figure([lost], "of a test").data
    assert (line.y[0], line.y[-1]) == (None, None)
    assert gradient_flow.first_layer_figure(replace(study, networks=(lost,))).data[0].y == (None,)
