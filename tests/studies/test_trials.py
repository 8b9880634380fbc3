import re
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.errors import ConfigError, DivergedError, RunError
from glassnet.progress import Progress
from glassnet.studies.trials import Trial, run_trials
from glassnet.training import RunFolder
from tests.training.runs import assert_same_run, untimed

SPEC = gn.spec("tiny", width=2)


def trial(name: str = "a", seed: int = 0, spec: gn.ResNetSpec = SPEC, **recipe: object) -> Trial:
    return Trial(name, spec, gn.Recipe(epochs=2, seed=seed).replace(**recipe))


class RecordingProgress(Progress):
    """Remembers what it receives; raises KeyboardInterrupt once ``interrupt_at`` percent are done."""

    def __init__(self, interrupt_at: int = 101) -> None:
        self.lines, self.percent, self.is_finished, self.interrupt_at = list[str](), 0, False, interrupt_at

    def log(self, line: str) -> None:
        self.lines.append(line)

    def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
        self.task, self.percent, self.percent_at_start = (title, total, unit), done, done

    def advance(self, count: int = 1) -> None:
        self.percent += count
        if self.percent >= self.interrupt_at:
            raise KeyboardInterrupt

    def finish(self) -> None:
        self.is_finished = True


def test_run_trials_leaves_a_run_of_each_name(digits: gn.Dataset, tmp_path: Path) -> None:
    first, second = run_trials([trial("a"), trial("b", seed=1)], digits, tmp_path)
    assert first.path == tmp_path / "a"
    assert gn.load(second.path).config["seed"] == 1
    assert untimed(gn.load(first.path).history) == untimed(first.history)
    assert first.last == first.history[-1]
    assert first.history != second.history


def test_run_trials_reuses_finished_runs(digits: gn.Dataset, tmp_path: Path, snapshot) -> None:
    (before,) = run_trials([trial("a")], digits, tmp_path)
    files, progress = snapshot(tmp_path / "a"), RecordingProgress()
    *_, again = run_trials([trial("b", seed=1), trial("a")], digits, tmp_path, progress=progress)
    assert progress.percent_at_start == 50
    assert snapshot(tmp_path / "a") == files
    assert again == before
    assert progress.lines[0] == f"2 runs in {tmp_path}, 1 of them there already"
    assert [line.partition(":")[0] for line in progress.lines[1:3]] == ["[1/2] a", "[2/2] b"]


def test_run_trials_resumes_interrupted_runs_to_the_same_bits(digits: gn.Dataset, tmp_path: Path) -> None:
    both, interrupted = [trial("a", epochs=3), trial("b", seed=1, epochs=3)], RecordingProgress(interrupt_at=30)
    with pytest.raises(KeyboardInterrupt):
        run_trials(both, digits, tmp_path / "stopped", progress=interrupted)
    assert interrupted.is_finished
    assert interrupted.lines[-1].startswith("0 of 2 runs finished, after ")
    assert RunFolder(tmp_path / "stopped" / "a").has_checkpoint
    assert not RunFolder(tmp_path / "stopped" / "a").is_finished
    resumed = RecordingProgress()
    run_trials(both, digits, tmp_path / "stopped", progress=resumed)
    run_trials(both, digits, tmp_path / "whole")
    assert resumed.percent == 100
    for name in ("a", "b"):
        assert_same_run(tmp_path / "stopped" / name, tmp_path / "whole" / name)


def test_run_trials_logs_a_line_for_each_run(digits: gn.Dataset, tmp_path: Path) -> None:
    progress = RecordingProgress()
    run_trials([trial("a"), trial("wild", lr=1e20)], digits, tmp_path, progress=progress)
    first, second, third, last = progress.lines
    assert first == f"2 runs in {tmp_path}"
    values = r"\d\.\d{4}, accuracy \d+\.\d%"
    assert re.fullmatch(rf"\[1/2\] a: train loss {values}; test loss {values}", second)
    assert re.match(r"\[2/2\] wild: diverged. .* became .* Try a lower lr, or clip_grad_norm.", third)
    assert re.fullmatch(r"2 of 2 runs finished, after \d+\.\d s", last)
    assert (progress.task, progress.percent, progress.is_finished) == (("2 runs", 100, "percent"), 100, True)


def test_run_trials_counts_percent_of_the_cost(digits: gn.Dataset, tmp_path: Path) -> None:
    progress = RecordingProgress(interrupt_at=80)
    with pytest.raises(KeyboardInterrupt):  # the longer run comes first, and is 4 of 5 epochs
        run_trials([trial("a", epochs=1), trial("b", epochs=4)], digits, tmp_path, progress=progress)
    assert progress.percent == 80
    assert RunFolder(tmp_path / "b").has_checkpoint
    assert not (tmp_path / "a").exists()


def test_run_trials_rejects_other_settings_before_training(digits: gn.Dataset, tmp_path: Path) -> None:
    run_trials([trial("b")], digits, tmp_path)
    error = f"recipe.lr must be 0.05 to resume {tmp_path / 'b'}. Got 0.1."
    with pytest.raises(RunError, match=re.escape(error)):
        run_trials([trial("a"), trial("b", lr=0.1)], digits, tmp_path)
    assert not (tmp_path / "a").exists()


def test_run_trials_rejects_other_data(digits: gn.Dataset, tmp_path: Path) -> None:
    run_trials([trial("a")], digits, tmp_path)
    with pytest.raises(RunError, match=r"data.samples must be 200 and .* to resume .*a. Got 300 and "):
        run_trials([trial("a")], gn.load_data("digits", samples=300), tmp_path)


def test_run_trials_names_an_impossible_trial_before_training(digits: gn.Dataset, tmp_path: Path) -> None:
    wrong = trial("wrong", spec=gn.spec("tiny", classes=3))
    error = "wrong cannot be trained. classes of the model must be 10, as in the data. Got 3."
    with pytest.raises(ConfigError, match=re.escape(error)):
        run_trials([trial("a"), wrong], digits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_run_trials_returns_a_result_for_a_diverged_run(digits: gn.Dataset, tmp_path: Path) -> None:
    both = [trial("a"), trial("wild", lr=1e20)]
    fine, wild = run_trials(both, digits, tmp_path)
    assert fine.last is not None
    assert wild.last is None
    assert re.match(r"Training diverged in epoch 1: the .* became (nan|inf) at a learning rate of 1e\+20", wild.failure)
    assert run_trials(both, digits, tmp_path) == [fine, wild]


def test_run_trials_raises_other_errors(digits: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(DivergedError, RunError)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a cannot be trained. .* Got a folder that contains 'notes.txt'"):
        run_trials([trial("a")], digits, tmp_path)


@pytest.mark.parametrize(
    ("trials", "workers", "error"),
    [
        ([trial("a"), trial("b"), trial("a", seed=1)], 1, "The names of trials must be unique. Got 'a' twice."),
        ([trial("a")], 0, "workers must be an integer of at least 1. Got 0."),
    ],
)
def test_run_trials_rejects_invalid_arguments(
    trials: list[Trial], workers: int, error: str, digits: gn.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)):
        run_trials(trials, digits, tmp_path, workers=workers)


def test_cost_grows_with_network_and_epochs() -> None:
    assert trial(epochs=4).cost == 2 * trial().cost
    assert trial(spec=gn.spec("tiny")).cost > trial().cost
