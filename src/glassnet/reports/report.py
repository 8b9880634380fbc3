"""Report of one run: its data, training, results, misclassified images, network and settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassnet import measures
from glassnet.errors import DataError, GlassnetError
from glassnet.formats import format_duration, pluralize
from glassnet.pages import figures
from glassnet.pages.page import Block, Page, Section, Table, write_page
from glassnet.pages.text import Cell, first_names, format_shape, format_value, isolate, shorten
from glassnet.reports.class_results import class_blocks
from glassnet.reports.live_page_link import with_live_page
from glassnet.reports.run_results import data_name, engine_title, image_names, training_seconds
from glassnet.training.early_stopping import describe_stop
from glassnet.training.log_line import value_on_test_set

if TYPE_CHECKING:
    from glassnet.data import Dataset
    from glassnet.training import Model

_MAX_OPEN_ROWS = 30
_MAX_MEMBERS = 30  # of a list among the settings


@dataclass(frozen=True, repr=False)
class Report:
    """The report of a run, written at ``path``."""

    path: Path
    title: str

    def __repr__(self) -> str:
        return f"Report({self.title}: {self.path})"


def write_report(
    model: "Model",
    dataset: "Dataset | None" = None,
    path: Path | str | None = None,
    outcome: measures.Outcome | None = None,
) -> Report:
    """Write the report of a run as one HTML file that opens offline. The run stays as it is.

    :param model: a run as ``glassnet.load`` returns it.
    :param dataset: its data; by default loaded again from the source that the run recorded. If that fails, the report
        shows what the run folder has, and says what is missing and why.
    :param path: the file to write; by default ``report.html`` in the run folder. An older report is replaced.
    :param outcome: that of the model on the dataset's test images if it is known; by default it is computed.
    :raises DataError: if the dataset has other classes than the run.
    :raises RunError: if the file cannot be written.
    """
    missing = ""
    if dataset is None:
        try:
            dataset = model.load_dataset()
        except GlassnetError as error:
            missing = str(error)
    elif dataset.classes != model.classes:
        raise DataError(
            f"The data of a report on {model.path} must have its classes ({first_names(model.classes)}). Got "
            f"{len(dataset.classes)} classes ({first_names(dataset.classes)})."
        )
    page, path = build_page(model, dataset, missing, outcome), Path(path or model.path / "report.html")
    return Report(write_page(with_live_page(page, model, path), path), page.title)


def build_page(
    model: "Model", dataset: "Dataset | None", missing: str = "", outcome: measures.Outcome | None = None
) -> Page:
    """Return the report as a page, not yet written.

    :param missing: the reason why there is no dataset.
    :param outcome: that of the model on the dataset's test images if it is known.
    """
    title = f"{_model_name(model)} on {data_name(model)}" if model.history else _model_name(model)
    if dataset is None:
        sentence = (
            "The images could not be loaded, so training samples, results by class, misclassified images and feature "
            f"maps are missing. {missing}"
        )
        sections = [_training(model), _network(model, []), _settings(model)]
        return Page(title, _key_figures(model, None), [*_summary(model, None, None), sentence], sections)
    outcome = outcome or measures.outcome(model, dataset.test, dataset.scale)
    name = model.name_test_set(dataset)
    sections = [
        _samples(dataset),
        _training(model),
        Section(f"Results on the {name} images", class_blocks(outcome, dataset.classes)),
        _misclassified(dataset, outcome, name),
        _network(model, _feature_maps(model, dataset, outcome)),
        _settings(model),
    ]
    return Page(title, _key_figures(model, (outcome, name)), _summary(model, dataset, outcome), sections)


def _summary(model: "Model", dataset: "Dataset | None", outcome: measures.Outcome | None) -> list[str]:
    data, recipe, history = model.config["data"], model.config.get("recipe") or {}, model.history
    contaminated, name = history[-1].get("contaminated", 0) if history else 0, model.name_test_set()
    sentences = [_describe_training(model)]
    accuracy = _last_accuracy(model)
    last = None if accuracy is None else (round(accuracy * data["test"]), data["test"])
    if last is not None:
        sentence = _describe_accuracy(*last, name, "after the last epoch")
        sentences.append(f"{sentence} {_describe_test_set(contaminated, data.get('test_name', 'test'))}")
    if dataset is not None and outcome is not None and last != (outcome.n_correct, len(outcome.labels)):
        if dataset.fingerprint != data["fingerprint"]:
            which = "of the data given for this report"
        elif data.get("validation") or recipe.get("validation_fraction"):
            which = "with the weights selected on the validation set"
        else:
            which = "with the weights of the run folder"
        name = model.name_test_set(dataset)
        sentence = _describe_accuracy(outcome.n_correct, len(outcome.labels), name, which)
        sentences.append(f"{sentence} The sections below show these results.")
        if dataset.fingerprint != data["fingerprint"] and (contaminated := model.images.count_trained(dataset.test)):
            sentences.append(_describe_test_set(contaminated, dataset.test_name))
    if 0 < len(history) < recipe.get("epochs", 0):
        sentences.append(f"The run {describe_stop(recipe, history)}.")
    if any(not math.isfinite(record["loss"]) for record in history if record.get("loss") is not None):
        sentences.append("The training diverged: some losses are not finite. A lower learning rate may help.")
    return sentences


def _describe_test_set(contaminated: int, test_name: str) -> str:
    """Return whether the images of the test set can test the run."""
    if not contaminated:
        return f"The {test_name} set was not used to select the epoch."
    return (
        f"The run, or one that its initial weights come from, was trained on {contaminated:,} of these images, so this "
        f"is no {test_name} accuracy."
    )


def _describe_training(model: "Model") -> str:
    classes, n_parameters = len(model.classes), model.network.parameter_count
    network = f"{_model_name(model)} is a residual network with {n_parameters:,} parameters"
    if not model.history:
        return f"{network} for {classes} classes. The run has no training record."
    fraction = (model.config.get("recipe") or {}).get("validation_fraction")
    held_out = f" ({fraction:.0%} of them held out for validation)" if fraction else ""
    if not fraction and (count := model.config["data"].get("validation")):
        held_out = f" (and validated on {pluralize(count, 'other')})"
    images = pluralize(model.config["data"]["train"], "image")
    return (
        f"{network}. It was trained on {images} of {classes} classes{held_out} for "
        f"{pluralize(len(model.history), 'epoch')} on the {engine_title(model)} engine, in "
        f"{format_duration(training_seconds(model))}."
    )


def _describe_accuracy(n_correct: int, count: int, name: str, which: str) -> str:
    low, high = measures.accuracy_interval(n_correct, count)
    return (
        f"The network classifies {n_correct:,} of {pluralize(count, f'{name} image')} correctly {which}: accuracy "
        f"{n_correct / count:.1%} (95% confidence interval {low:.1%} to {high:.1%})."
    )


def _key_figures(model: "Model", given: tuple[measures.Outcome, str] | None) -> list[tuple[str, str]]:
    """Return the numbers at the head of the page.

    :param given: the outcome on the images of the page, and the name of that set, for runs without a record.
    """
    accuracy, n_test, name = _last_accuracy(model), model.config["data"]["test"], model.name_test_set()
    if accuracy is None and given is not None:
        outcome, name = given
        accuracy, n_test = outcome.accuracy, len(outcome.labels)
    name = name.capitalize()
    key_figures = [("Parameters", f"{model.network.parameter_count:,}")]
    if accuracy is not None:
        key_figures = [(f"{name} accuracy", f"{accuracy:.1%}"), *key_figures, (f"{name} images", f"{n_test:,}")]
    if model.history:
        key_figures.append(("Training images", f"{model.config['data']['train']:,}"))
        key_figures.append(("Training time", format_duration(training_seconds(model))))
    return key_figures


def _samples(dataset: "Dataset") -> Section:
    indices = measures.sample_indices(dataset.train.labels)
    images, labels = dataset.train.pixels(indices), dataset.train.labels[indices]
    return Section("Data", [figures.sample_figure(images, labels, dataset.classes, scale=dataset.scale)])


def _training(model: "Model") -> Section:
    history = model.history
    if not history:
        return Section("Training", ["This run has no training record, so there are no curves."])
    recipe = model.config.get("recipe") or {}
    columns = [
        key for key, value in history[-1].items() if not isinstance(value, Mapping) and (key != "contaminated" or value)
    ]
    titles = [key.replace("_", " ").capitalize() for key in columns]
    rows = [[record.get(key) for key in columns] for record in history]
    name = model.name_test_set()
    is_weighted = recipe.get("class_weights", "none") != "none"
    smoothing, is_averaged = recipe.get("label_smoothing") or 0.0, bool(recipe.get("ema"))
    losses = figures.loss_curve(history, smoothing, name, is_weighted=is_weighted, is_averaged=is_averaged)
    accuracies = figures.accuracy_curve(history, name, is_averaged=is_averaged)
    curves = [losses, accuracies, figures.gradient_norm_curves(history)]
    return Section("Training", [*curves, Table("Epochs", titles, rows, collapsed=True)])


def _misclassified(dataset: "Dataset", outcome: measures.Outcome, name: str) -> Section:
    errors = measures.most_confident_errors(outcome)
    if not errors:
        return Section("Misclassified images", [figures.NO_ERRORS_TEXT])
    indices = [error.index for error in errors]
    images, names = dataset.test.pixels(indices), image_names(dataset.test, indices)
    n_wrong = len(outcome.labels) - outcome.n_correct
    sentence = f"The network misclassifies {pluralize(n_wrong, f'{name} image')}."
    if n_wrong > len(errors):
        sentence += f" The {len(errors)} with the highest confidence are shown."
    grid = figures.misclassified_figure(errors, images, dataset.classes, scale=dataset.scale, names=names)
    rows: list[list[Cell]] = [
        [name, dataset.classes[error.true], dataset.classes[error.predicted], error.predicted_probability]
        for name, error in zip(names, errors, strict=True)
    ]
    columns = ["Image", "True class", "Predicted class", "Confidence"]
    table = Table("Most confident errors", columns, rows, collapsed=True)
    return Section("Misclassified images", [sentence, grid, table])


def _feature_maps(model: "Model", dataset: "Dataset", outcome: measures.Outcome) -> list[Block]:
    image = model.normalization.apply(dataset.test.pixels([0]), model.network.dtype)
    activations = model.network.activations(image)
    maps = {"image": image[0]} | {name: activations[name][0] for name in measures.stages(list(activations))}
    label, predicted = (isolate(shorten(dataset.classes[k], 60)) for k in (outcome.labels[0], outcome.predicted[0]))
    return [
        f"The feature maps are those of the first of these images, of class {label}. The network predicts class "
        f"{predicted} with probability {outcome.confidence[0]:.2f}.",
        figures.feature_map_figure(maps),
    ]


def _network(model: "Model", feature_maps: Sequence[Block]) -> Section:
    filters = next(value for value in model.network.state_dict().values() if value.ndim == 4)
    layers = measures.layer_table(model.network)
    rows: list[list[str | int]] = [
        [layer.name, format_shape(layer.output_shape), layer.parameters, layer.multiply_adds, layer.memory]
        for layer in layers
    ]
    multiply_adds, memory = sum(layer.multiply_adds for layer in layers), sum(layer.memory for layer in layers)
    rows.append(["total", "", sum(layer.parameters for layer in layers), multiply_adds, memory])
    columns = ["Layer", "Output (C×H×W)", "Parameters", "Multiply-adds", "Output memory (bytes)"]
    sentence = (
        f"One image takes {multiply_adds:,} multiply-adds in convolutions and the linear layer (without bias "
        f"additions). The outputs of all layers together take {memory:,} bytes in {model.config['dtype']}. Layers have "
        "the names of their parameters in the state dict: layer1.0.conv1 is the first convolution in block 0 of stage "
        "1. Figures use the same names."
    )
    table = Table("Layers, for one image", columns, rows, collapsed=len(rows) > _MAX_OPEN_ROWS)
    return Section("Inside the network", [figures.filter_figure(filters), *feature_maps, sentence, table])


def _settings(model: "Model") -> Section:
    config = model.config
    parts = {"Model": config["spec"], "Recipe": config.get("recipe"), "Data": config["data"]}
    parts["Run"] = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    parts["Run"] |= {"folder": Path(model.path).name, "total time": format_duration(training_seconds(model))}
    parts["Versions"] = config.get("versions")
    return Section(
        "Settings, versions and time",
        [
            Table(title, ["Setting", "Value"], [[key.replace("_", " "), _format_setting(part[key])] for key in part])
            for title, part in parts.items()
            if part
        ],
    )


def _format_setting(value: object) -> str:
    """Return a setting as text, of a long list its first members and their number: the names of 1,000 classes."""
    if isinstance(value, list) and len(value) > _MAX_MEMBERS:
        return f"{first_names([format_value(member) for member in value])} ({len(value):,} in all)"
    return format_value(value)


def _last_accuracy(model: "Model") -> float | None:
    return value_on_test_set(model.history[-1], "accuracy") if model.history else None


def _model_name(model: "Model") -> str:
    return str(model.config["spec"]["preset"])
