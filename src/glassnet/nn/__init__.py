"""The layers of the NumPy engine, under torch.nn's names, with every gradient written by hand.

Read ``functional`` first: it is the mathematics in plain NumPy. ``kernels`` has faster versions of its functions. A
layer has parameters, and calls the functions of one of the two.
"""

from glassnet.nn.activation import ReLU
from glassnet.nn.container import Residual, Sequential
from glassnet.nn.convolution import Conv2d
from glassnet.nn.dropout import Dropout
from glassnet.nn.linear import Flatten, Linear
from glassnet.nn.loss import CrossEntropyLoss
from glassnet.nn.module import Module, Parameter, module_hooks
from glassnet.nn.normalization import BatchNorm2d
from glassnet.nn.optimizer import SGD, Adam, AdamW, Optimizer
from glassnet.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from glassnet.nn.shortcut import Identity, ZeroPadShortcut

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "ZeroPadShortcut",
    "module_hooks",
]
