import json

from glassnet.pages.page import render
from glassnet.studies import sweep
from tests.studies.sweep.made_up import diverged_study, grid_study, made_up


def test_build_page_has_effects_and_settings() -> None:
    study = grid_study()
    page = sweep.build_page(study)
    assert [section.title for section in page.sections] == ["Effects", "Settings"]
    _, effects = page.sections[0].blocks
    assert [row[-1] for row in effects.rows] == ["no", "yes"]
    assert sweep.markdown(study) in page.sections[1].blocks[2].text
    assert "blocks=2, norm=batch" in render(page)


def test_build_page_of_one_setting_has_no_effects() -> None:
    page = sweep.build_page(made_up({(1,): (0.9, 0.8)}, blocks=(1,)))
    assert [section.title for section in page.sections] == ["Settings"]


def test_build_page_of_one_seed_tests_nothing() -> None:
    page = sweep.build_page(made_up({(1,): (0.9,), (2,): (0.8,)}, blocks=(1, 2)))
    _, effects = page.sections[0].blocks
    assert effects.rows[0][-1] == "not tested"


def test_build_page_shows_diverged_settings() -> None:
    study = diverged_study()
    assert "| 1 | 9 | 1,234 | diverged | diverged | 2.5 |" in sweep.markdown(study)
    render(sweep.build_page(study))
    render(sweep.build_page(made_up({(1.0,): (None,), (2.0,): (None,)}, lr=(1.0, 2.0))))
    json.dumps(study.to_dict(), allow_nan=False)


def test_markdown_is_the_table_of_settings() -> None:
    assert sweep.markdown(grid_study()).splitlines()[:3] == [
        "| blocks | norm | parameters | validation accuracy | validation loss | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1 | batch | 1,234 | 91.1% ± 1.0% | 0.0893 ± 0.0101 | 2.5 |",
    ]
