"""Sentences on where the live page, and a training in it, differ from the run."""

from __future__ import annotations

from collections.abc import Iterator

from glassnet.explorer.images import PageImages
from glassnet.explorer.seeds import N_SEEDS
from glassnet.formats import agree, pluralize
from glassnet.recipe import Recipe
from glassnet.training import Model
from glassnet.training.config import RunConfig
from glassnet.training.early_stopping import describe_stop
from glassnet.training.epoch_batches import recipe_augmentation
from glassnet.training.run_files import validation_rank


def describe_differences(model: Model, config: RunConfig, images: PageImages, seeds: dict[int, int]) -> list[str]:
    """Return the sentences; none for a float64 run whose training the page repeats.

    :param seeds: by seed, the number of epochs whose order the page has.
    """
    notes = list(_of_the_images(model, config, images))
    if config.dtype == "float32":
        notes.append("The run computed in float32. The page computes in float64, so numbers differ in rounding.")
    if images.is_complete and config.recipe is not None:
        notes += _of_the_training(config, config.recipe)
        notes += _of_the_end(model, config.recipe)
        notes += _of_the_seeds(config.recipe, seeds)
    return notes


def is_repeatable(config: RunConfig, images: PageImages) -> bool:
    """Return whether ``train`` makes what a training in the page makes, from the same seed, in float64."""
    recipe = config.recipe
    if recipe is None or not images.is_complete:
        return False
    return not (recipe_augmentation(recipe) or config.spec.dropout or (recipe.shards or 1) > 1)


def _of_the_images(model: Model, config: RunConfig, images: PageImages) -> Iterator[str]:
    count = len(images.test)
    if not count:
        return
    if images.is_other and config.recipe is not None:
        yield "The images are not those of the run: the page was written with other data."
    if not images.is_complete:
        yield (
            f"The page has {count:,} of {images.n_data:,} test images, of which up to half are misclassified ones. A "
            "training here starts from the run's weights and uses these images alone, so it shows how a step works and "
            "not how well a network learns. Other networks and seeds would need all images, so there are none."
        )
    if contaminated := model.images.count_trained(images.test):
        yield (
            f"{contaminated:,} of the {count:,} test images {agree(contaminated, 'was', 'were')} trained on, by this "
            "run or by one that its weights come from, so the accuracy on them is no test accuracy."
        )
    if config.recipe is None:
        yield "The weights were imported. The page trains with the default recipe of the preset."


def _of_the_training(config: RunConfig, recipe: Recipe) -> Iterator[str]:
    if config.dtype == "float32":
        yield "Rounding grows in a training: at the end of one, the page says how far its weights are from the run's."
    if recipe_augmentation(recipe):
        yield "The run trained on randomly changed images (augmentation). The page trains on the images as they are."
    if config.spec.dropout:
        yield f"The run trained with dropout of {config.spec.dropout:g}. The page drops other numbers."
    if recipe.shards is not None and recipe.shards > 1:
        yield f"The run cut each batch into {recipe.shards} parts (shards). The page computes it whole."
    if config.init is not None:
        yield "The run started from the weights of another network. The page starts from the initial weights of a seed."
    if config.freeze:
        yield "The run trained the last layer alone. The page trains all layers."
    if count := config.data.validation:
        yield f"The run held out {count:,} images to choose an epoch. The page does not train on them."


def _of_the_end(model: Model, recipe: Recipe) -> Iterator[str]:
    history = model.history
    if len(history) < recipe.epochs:
        yield f"The run {describe_stop(recipe.to_dict(), history)}. A training here has all epochs."
    if "validation_accuracy" in history[-1]:
        best = max(history, key=validation_rank)["epoch"]
        if best != recipe.epochs:
            yield f"The run's weights are those after epoch {best}, which validation chose."


def _of_the_seeds(recipe: Recipe, seeds: dict[int, int]) -> Iterator[str]:
    epochs = min(seeds.values())
    if epochs < recipe.epochs:
        yield f"The page has the order of the images in {epochs} of {recipe.epochs} epochs, and then repeats it."
    if recipe.validation_fraction:
        yield "The page has one seed: with another one, other images would be held out."
    elif len(seeds) < N_SEEDS:
        count, length = pluralize(len(seeds), "seed"), pluralize(recipe.epochs, "epoch")
        yield f"The page has {count} instead of {N_SEEDS}: initial weights and orders of {length} take much room."
