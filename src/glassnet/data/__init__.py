"""Images: their sources, splits, normalization, batches and augmentation."""

from glassnet.data.augmentation import AUGMENTATIONS, Augmentation, Changes
from glassnet.data.batch_loader import BatchLoader
from glassnet.data.batches import count_batches, cycle_batches, make_rng, shuffled_batches, validate_seed
from glassnet.data.dataset import Dataset
from glassnet.data.images.decode import decode_image, decode_ink
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.likeness import Likeness
from glassnet.data.larger_images import load_larger
from glassnet.data.normalization import Normalization
from glassnet.data.sources import load_data
from glassnet.data.split import Split
from glassnet.data.splitting import stratified_split

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "BatchLoader",
    "Changes",
    "Dataset",
    "ImageForm",
    "Likeness",
    "Normalization",
    "Split",
    "count_batches",
    "cycle_batches",
    "decode_image",
    "decode_ink",
    "load_data",
    "load_larger",
    "make_rng",
    "shuffled_batches",
    "stratified_split",
    "validate_seed",
]
