"""Augmentation study: training images before and after their augmentation, with the numbers drawn."""

from glassnet.studies.augmentation.measure import AugmentationStudy, AugmentedImage, ChannelInput, run_study
from glassnet.studies.augmentation.page import build_page

__all__ = ["AugmentationStudy", "AugmentedImage", "ChannelInput", "build_page", "run_study"]
