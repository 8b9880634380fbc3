"""Random changes of training images: the same for an image whatever computes them, in whatever order."""

from glassnet.data.augmentation.augmentation import AUGMENTATIONS, Augmentation
from glassnet.data.augmentation.changes import Changes

__all__ = ["AUGMENTATIONS", "Augmentation", "Changes"]
