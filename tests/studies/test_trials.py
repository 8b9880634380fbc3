import re
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DivergedError, RunError
from glassnet.studies.study_progress import Watch
from glassnet.studies.trials import Outcome, Trial, train_all
from glassnet.training import RunFolder
from tests.training.runs import assert_same_run, untimed

SPEC = gn.spec("tiny", width=2)


def trial(name: str = "a", seed: int = 0, spec: gn.ResNetSpec = SPEC, **recipe: object) -> Trial:
    return Trial(name, spec, gn.Recipe(epochs=2, seed=seed).replace(**recipe))


class Told(Watch):
    """Remembers what it was told."""

    def __init__(self, after: int = 99) -> None:
        self.there, self.epochs, self.finished, self.after = -1, dict[str, int](), list[str](), after
        self.ended = False

    def begin(self, folder: Path, trials: object, there: int) -> None:
        self.there = there

    def advance(self, trial: Trial, epochs: int) -> None:
        self.epochs[trial.name] = self.epochs.get(trial.name, 0) + epochs
        if sum(self.epochs.values()) == self.after:
            raise KeyboardInterrupt

    def finish(self, outcome: Outcome) -> None:
        self.finished.append(outcome.trial.name)

    def end(self) -> None:
        self.ended = True


def test_each_trial_is_a_run_of_its_name(digits: gn.Dataset, tmp_path: Path) -> None:
    first, second = train_all([trial("a"), trial("b", seed=1)], digits, tmp_path, watch=Told())
    assert first.path == tmp_path / "a"
    assert gn.load(second.path).config["seed"] == 1
    assert untimed(gn.load(first.path).history) == untimed(first.history)
    assert first.last == first.history[-1]
    assert first.history != second.history


def test_what_is_there_is_not_run_again(digits: gn.Dataset, tmp_path: Path, snapshot) -> None:
    (before,) = train_all([trial("a")], digits, tmp_path, watch=Told())
    files, told = snapshot(tmp_path / "a"), Told()
    *_, again = train_all([trial("b", seed=1), trial("a")], digits, tmp_path, watch=told)
    assert snapshot(tmp_path / "a") == files
    assert again == before
    assert (told.there, told.epochs, told.finished) == (1, {"b": 2}, ["a", "b"])


def test_an_interrupted_study_goes_on_to_the_same_bits(digits: gn.Dataset, tmp_path: Path) -> None:
    both, told = [trial("a"), trial("b", seed=1)], Told(after=1)
    with pytest.raises(KeyboardInterrupt):
        train_all(both, digits, tmp_path / "stopped", watch=told)
    assert told.ended
    assert not RunFolder(tmp_path / "stopped" / "a").is_finished
    resumed, whole = Told(), Told()
    train_all(both, digits, tmp_path / "stopped", watch=resumed)
    train_all(both, digits, tmp_path / "whole", watch=whole)
    assert resumed.epochs == {"a": 2, "b": 2}  # the first was done before
    for name in ("a", "b"):
        assert_same_run(tmp_path / "stopped" / name, tmp_path / "whole" / name)


def test_a_run_begun_with_other_settings_is_refused_before_anything_is_trained(
    digits: gn.Dataset, tmp_path: Path
) -> None:
    train_all([trial("b")], digits, tmp_path, watch=Told())
    told = f"{tmp_path / 'b'} was begun with recipe.lr 0.05. It cannot go on with 0.1."
    with pytest.raises(RunError, match=re.escape(told)):
        train_all([trial("a"), trial("b", lr=0.1)], digits, tmp_path, watch=Told())
    assert not (tmp_path / "a").exists()


def test_other_data_is_refused(digits: gn.Dataset, tmp_path: Path) -> None:
    train_all([trial("a")], digits, tmp_path, watch=Told())
    with pytest.raises(RunError, match=r"a was begun with data.samples 200. It cannot go on with 300."):
        train_all([trial("a")], gn.load_data("digits", samples=300), tmp_path, watch=Told())


def test_what_cannot_be_is_named_before_anything_is_trained(digits: gn.Dataset, tmp_path: Path) -> None:
    wrong = trial("wrong", spec=gn.spec("tiny", classes=3))
    told = "wrong cannot be trained. The classes of the model is 3, of the data 10; they must be equal."
    with pytest.raises(ConfigError, match=re.escape(told)):
        train_all([trial("a"), wrong], digits, tmp_path, watch=Told())
    assert not list(tmp_path.iterdir())


def test_a_training_that_diverges_is_an_outcome(digits: gn.Dataset, tmp_path: Path) -> None:
    both = [trial("a"), trial("wild", lr=1e20)]
    fine, wild = train_all(both, digits, tmp_path, watch=Told())
    assert fine.last is not None
    assert wild.last is None
    assert re.match(r"The .* became (nan|inf) in epoch 1 at a learning rate of 1e\+20", wild.failure)
    assert train_all(both, digits, tmp_path, watch=Told()) == [fine, wild]


def test_other_failures_stop_the_study(digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(DivergedError, RunError)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a cannot be trained. .* holds 'notes.txt', which is no run's"):
        train_all([trial("a")], digits, tmp_path, watch=Told())


@pytest.mark.parametrize(
    ("trials", "workers", "told"),
    [
        ([trial("a"), trial("b"), trial("a", seed=1)], 1, "Each trial needs a name of its own. Got 'a' twice."),
        ([trial("a")], 0, "workers must be at least 1. Got 0."),
    ],
)
def test_refused(trials: list[Trial], workers: int, told: str, digits: gn.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        train_all(trials, digits, tmp_path, workers=workers, watch=Told())


def test_work_grows_with_the_network_and_the_epochs() -> None:
    assert trial(epochs=4).work == 2 * trial().work
    assert trial(spec=gn.spec("tiny")).work > trial().work
