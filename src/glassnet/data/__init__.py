"""Images: where they come from, how they are split, normalized, batched and augmented."""

from glassnet.data.augment import AUGMENTATIONS, Augmentation, draw
from glassnet.data.batches import cycle_batches, make_rng, shuffled_batches, validate_seed
from glassnet.data.dataset import Dataset, Split
from glassnet.data.decode import decode_image
from glassnet.data.normalization import Normalization
from glassnet.data.sources import load_data
from glassnet.data.splitting import stratified_split

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Dataset",
    "Normalization",
    "Split",
    "cycle_batches",
    "decode_image",
    "draw",
    "load_data",
    "make_rng",
    "shuffled_batches",
    "stratified_split",
    "validate_seed",
]
