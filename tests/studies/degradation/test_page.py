import json
from dataclasses import replace

from glassnet.pages.page import render
from glassnet.studies import degradation
from glassnet.studies.degradation import DegradationStudy
from tests.studies.degradation.made_up import DEGRADED, made_up


def test_build_page_has_a_section_for_each_norm() -> None:
    both = made_up(DEGRADED), made_up(DEGRADED, "none")
    page = degradation.build_page(replace(both[0], curves=both[0].curves + both[1].curves))
    titles = [section.title for section in page.sections]
    assert titles == ["With batch normalization", "Without normalization", "Tables", "Method"]


def test_build_page_shows_diverged_runs(diverged: DegradationStudy) -> None:
    assert degradation.table_rows(diverged)[3]["training error"] == "diverged"
    page = degradation.build_page(diverged)
    assert dict(page.key_figures)["Residual, 56 layers"] == "diverged"
    render(page)
    json.dumps(diverged.to_dict(), allow_nan=False)


def test_table_rows_are_means_and_standard_deviations() -> None:
    assert degradation.table_rows(made_up(DEGRADED))[1] == {
        "network": "plain",
        "norm": "batch",
        "layers": 56,
        "training error": "72.3% ± 2.5%",
        "training loss": "1.4467 ± 0.0503",
        "test error": "72.3% ± 2.5%",
    }
