"""Pictures: where they come from, how they are split, normalized, batched and augmented."""

from glassnet.data.augment import AUGMENTATIONS, Augmentation, draw
from glassnet.data.batches import check_seed, endless_batches, epoch_batches, random_stream
from glassnet.data.dataset import Dataset, Split
from glassnet.data.decode import decode_picture
from glassnet.data.normalization import Normalization
from glassnet.data.sources import load_data
from glassnet.data.splitting import stratified_split

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Dataset",
    "Normalization",
    "Split",
    "check_seed",
    "decode_picture",
    "draw",
    "endless_batches",
    "epoch_batches",
    "load_data",
    "random_stream",
    "stratified_split",
]
