import pytest

from glassnet import measures
from glassnet.reports import compare
from tests.outcomes import outcome_of
from tests.reports.runs_to_compare import DATA


@pytest.fixture
def compare_fakes(monkeypatch):
    """Compares contestants by what they are made to say, in place of networks."""
    monkeypatch.setattr(measures, "layer_table", lambda network: [measures.LayerSummary("fc", (3,), 9, 90, 12)])
    monkeypatch.setattr(
        measures, "outcome", lambda model, split, scale: outcome_of(split.labels, model.network.probabilities)
    )
    return lambda *models, dataset=DATA: compare(models, dataset)
