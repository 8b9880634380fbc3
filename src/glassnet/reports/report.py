"""The report of one run: what it learned from, how it went, what it mixes up, and what is inside."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassnet import measures
from glassnet.errors import DataError, GlassnetError
from glassnet.pages import figures
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.pages.text import first_names, format_value, pluralize
from glassnet.progress import format_duration

if TYPE_CHECKING:
    from glassnet.data import Dataset
from glassnet.training import Model

Block = Any
ENGINES = {"numpy": "NumPy", "torch": "PyTorch"}


def write_report(model: "Model", dataset: "Dataset | None" = None, path: Path | str | None = None) -> Path:
    """Writes the report of a run as one HTML file that opens offline.

    :param model: a run as ``glassnet.load`` returns it. The report looks at its weights and changes nothing.
    :param dataset: what it was trained on; by default loaded again from where the run says. If that fails, the
        report shows what the run folder alone has, and says what is missing and why.
    :param path: where to; by default ``report.html`` in the run folder. An older report is replaced.
    :returns: The path written.
    :raises DataError: the dataset has other classes than the run.
    :raises RunError: the file cannot be written.
    """
    missing = ""
    if dataset is None:
        try:
            dataset = model.load_dataset()
        except GlassnetError as error:
            missing = str(error)
    elif dataset.classes != model.classes:
        raise DataError(
            f"A report on {model.path} needs its classes ({first_names(model.classes)}). Got a data set with "
            f"{len(dataset.classes)} classes ({first_names(dataset.classes)})."
        )
    page = compose(model, dataset, missing)
    return write_page(page, Path(path) if path is not None else Path(model.path) / "report.html")


def compose(model: "Model", dataset: "Dataset | None", missing: str = "") -> Page:
    """The report as a page, not yet written; ``missing`` says why there is no dataset."""
    title = f"{_model_name(model)} on {data_name(model)}" if model.history else _model_name(model)
    if dataset is None:
        missing_parts = (
            "The images could not be loaded again, so the training samples, the results by class, the mistakes and "
            f"the feature maps are missing here. {missing}"
        )
        sections = [_training(model), _inside(model, None), _settings(model)]
        return Page(title, _facts(model, None), [*_summary(model, None), missing_parts], sections)
    outcome = measures.outcome(model, dataset.test, dataset.scale)
    sections = [_samples(dataset), _training(model), _results(dataset, outcome), _mistakes(dataset, outcome)]
    sections += [_inside(model, (dataset, outcome)), _settings(model)]
    return Page(title, _facts(model, outcome), _summary(model, outcome), sections)


def _summary(model: "Model", outcome: measures.Outcome | None) -> list[str]:
    data, recipe, history = model.config["data"], model.config.get("recipe") or {}, model.history
    sentences = [
        f"{_model_name(model)} is a residual network with {model.network.parameter_count:,} parameters. It learned "
        f"{len(model.classes)} classes from {data['train']:,} images in {pluralize(len(history), 'epoch')} on the "
        f"{engine_title(model)} engine, which took {format_duration(training_seconds(model))}."
        if history
        else f"{_model_name(model)} is a residual network with {model.network.parameter_count:,} parameters for "
        f"{len(model.classes)} classes. This run has no record of a training."
    ]
    accuracy = _last_accuracy(model)
    if accuracy is not None:
        right, count = round(accuracy * data["test"]), data["test"]
        low, high = measures.accuracy_interval(right, count)
        sentences.append(
            f"After the last epoch it names {right:,} of {count:,} test images correctly: a test accuracy of "
            f"{accuracy:.1%}, with a 95% interval from {low:.1%} to {high:.1%}. This is the last epoch, be it the "
            "best or not; the test images chose nothing."
        )
    if outcome is not None and outcome.n_correct != round((accuracy or 0) * len(outcome.labels)):
        chosen = "weights that the validation images chose" if recipe.get("validation") else "weights of this run"
        sentences.append(
            f"All that follows is about the {chosen}, which name {outcome.n_correct:,} of {len(outcome.labels):,} "
            f"test images correctly ({outcome.accuracy:.1%})."
        )
    planned = recipe.get("epochs", len(history))
    if 0 < len(history) < planned:
        sentences.append(f"The run is not finished: {len(history)} of {planned} epochs are recorded.")
    if any(not math.isfinite(record["loss"]) for record in history if record.get("loss") is not None):
        sentences.append("The training diverged: not every loss is a finite number. A lower learning rate may help.")
    return sentences


def _facts(model: "Model", outcome: measures.Outcome | None) -> list[tuple[str, str]]:
    accuracy, count = _last_accuracy(model), model.config["data"]["test"]
    if accuracy is None and outcome is not None:
        accuracy, count = outcome.accuracy, len(outcome.labels)
    key_figures = [("Parameters", f"{model.network.parameter_count:,}")]
    if accuracy is not None:
        key_figures = [("Test accuracy", f"{accuracy:.1%}"), *key_figures, ("Test images", f"{count:,}")]
    if model.history:
        train = model.config["data"]["train"]
        key_figures += [("Training images", f"{train:,}"), ("Training time", format_duration(training_seconds(model)))]
    return key_figures


def _samples(dataset: "Dataset") -> Section:
    chosen = measures.sample_indices(dataset.train.labels)
    images, labels = dataset.train.images[chosen], dataset.train.labels[chosen]
    return Section("Data", [figures.sample_figure(images, labels, dataset.classes, scale=dataset.scale)])


def _training(model: "Model") -> Section:
    if not model.history:
        return Section("Training", ["This run has no record of a training, so there are no curves."])
    blocks: list[Block] = [
        figures.loss_curve(model.history),
        figures.accuracy_curve(model.history),
        figures.gradient_norm_curves(model.history),
    ]
    smoothing = (model.config.get("recipe") or {}).get("label_smoothing")
    if smoothing:
        blocks.insert(
            0,
            f"The training loss has label smoothing of {smoothing:g} in it and the test loss has not, "
            "so the training loss levels off higher.",
        )
    columns = [key for key, value in model.history[-1].items() if not isinstance(value, Mapping)]
    rows = [[record.get(key) for key in columns] for record in model.history]
    return Section("Training", [*blocks, Table("Every epoch in numbers", _titles(columns), rows, collapsed=True)])


def _results(dataset: "Dataset", outcome: measures.Outcome) -> Section:
    classes, matrix = dataset.classes, measures.confusion_matrix(outcome)
    scores = measures.class_scores(matrix)
    return Section(
        "Results on the test images",
        [
            figures.confusion_figure(matrix, classes),
            figures.precision_recall_figure(scores, classes),
            Table(
                "Every class in numbers",
                ["Class", "Precision", "Recall", "Test images"],
                [
                    [name, score.precision, score.recall, score.count]
                    for name, score in zip(classes, scores, strict=True)
                ],
                collapsed=True,
            ),
        ],
    )


def _mistakes(dataset: "Dataset", outcome: measures.Outcome) -> Section:
    mistakes = measures.most_confident_errors(outcome)
    if not mistakes:
        return Section("Mistakes", [figures.NO_ERRORS_TEXT])
    images = dataset.test.images[[mistake.index for mistake in mistakes]]
    wrong = len(outcome.labels) - outcome.n_correct
    shown = "all of them" if wrong == len(mistakes) else f"the {len(mistakes)} surest of them"
    return Section(
        "Mistakes",
        [
            f"The network misclassifies {pluralize(wrong, 'test image')}; below {'is' if wrong == 1 else 'are'} "
            f"{shown}.",
            figures.misclassified_figure(mistakes, images, dataset.classes, scale=dataset.scale),
        ],
    )


def _inside(model: "Model", tested: "tuple[Dataset, measures.Outcome] | None") -> Section:
    first = next(value for value in model.network.state_dict().values() if value.ndim == 4)
    blocks: list[Block] = [figures.filter_figure(first)]
    if tested is not None:
        dataset, outcome = tested
        label, scores = outcome.labels[0], outcome.probabilities[0]
        image = model.normalization.apply(dataset.test.images[:1], model.network.dtype)
        activations = model.network.activations(image)
        stem, *residual = measures.stages(list(activations))
        maps = {"image": image[0], "stem": activations[stem][0]} | {name: activations[name][0] for name in residual}
        blocks += [
            f"The feature maps below are of the first test image, of class {dataset.classes[label]}. The network takes "
            f"it for {dataset.classes[scores.argmax()]} with probability {scores.max():.2f}.",
            figures.feature_map_figure(maps),
        ]
    return Section("Inside the network", [*blocks, *_layers(model)])


def _layers(model: "Model") -> list[Block]:
    layers = measures.layer_table(model.network)
    parameters, multiply_adds, memory = (
        sum(getattr(layer, quantity) for layer in layers) for quantity in ("parameters", "multiply_adds", "memory")
    )
    rows: list[list[str | int]] = [
        [layer.name, "×".join(map(str, layer.output_shape)), layer.parameters, layer.multiply_adds, layer.memory]
        for layer in layers
    ]
    rows.append(["total", "", parameters, multiply_adds, memory])
    columns = ["Layer", "Output (C×H×W)", "Parameters", "Multiply-adds", "Output memory (bytes)"]
    return [
        f"One image takes {multiply_adds:,} multiply-adds in convolutions and the linear layer (bias additions not "
        f"counted), and the outputs of all layers together {memory:,} bytes in {model.config['dtype']}.",
        Table("Layer by layer, for one image", columns, rows, collapsed=len(rows) > 30),
    ]


def _settings(model: "Model") -> Section:
    config = model.config
    parts = {"Model": config["spec"], "Recipe": config.get("recipe", {}), "Data": config["data"]}
    parts["Run"] = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    parts["Run"] |= {"folder": Path(model.path).name, "total time": format_duration(training_seconds(model))}
    parts["Versions"] = config.get("versions", {})
    tables = [
        Table(
            title, ["Setting", "Value"], [[name.replace("_", " "), format_value(value)] for name, value in part.items()]
        )
        for title, part in parts.items()
        if part
    ]
    return Section("Settings, versions and time", tables)


def training_seconds(model: "Model") -> float:
    return sum(record.get("seconds") or 0.0 for record in model.history)


def _last_accuracy(model: "Model") -> float | None:
    return model.history[-1].get("test_accuracy") if model.history else None


def _model_name(model: "Model") -> str:
    return str(model.config["spec"]["preset"])


def engine_title(model: "Model") -> str:
    name = model.config["engine"]
    return ENGINES.get(name, str(name))


def data_name(model: "Model") -> str:
    """``digits``, or the last part of a path."""
    source = str(model.config["data"].get("source", "own data"))
    return Path(source).name or source


def _titles(keys: Iterable[str]) -> list[str]:
    return [key.replace("_", " ").capitalize() for key in keys]
