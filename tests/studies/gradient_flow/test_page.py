import json
from dataclasses import replace

from glassnet.pages.page import render
from glassnet.studies import gradient_flow
from glassnet.studies.gradient_flow import GradientFlowStudy


def test_build_page_renders(study: GradientFlowStudy) -> None:
    html = render(gradient_flow.build_page(study))
    assert html.count("after 4 steps") >= 2  # a button, and columns of the table
    json.dumps(study.to_dict(), allow_nan=False)
    assert "maps" not in study.to_dict()["blocks"][0]


def test_build_page_leaves_out_the_figure_by_depth_for_one_depth(study: GradientFlowStudy) -> None:
    alone = gradient_flow.build_page(replace(study, networks=study.networks[:2])).sections[1]
    several = gradient_flow.build_page(study).sections[1]
    assert (len(alone.blocks), len(several.blocks)) == (1, 2)
