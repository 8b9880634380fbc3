"""The functions of ``glassnet.nn.functional`` at the speed of the machine, with what they need to work.

::

    Kernels                  one for each network: threads and memory, with the functions as its methods
      convolution            blocks, wide windows, small products
      normalization          sums and constants multiplied out
      pooling                comparisons of whole images
      elementwise            ReLU, addition, copies
    parallel                 BlockExecutor: blocks of a batch on several threads
    window, wide_window      where a kernel lies on an image
    layout                   channels-last memory
    workspace, array_pool    memory that is used again

Names, arguments and results are those of ``functional``; what ``saved`` holds is each function's own. tests/nn/
test_kernels.py holds every kernel to its function.
"""

from __future__ import annotations

from glassnet.nn import functional
from glassnet.nn.kernels import convolution, elementwise, normalization, pooling
from glassnet.nn.kernels.parallel import BlockExecutor


class Kernels(BlockExecutor):
    """The kernels as methods that share one executor's threads and memory; ``functional`` can stand in its place."""

    conv2d = convolution.conv2d
    conv2d_backward = convolution.conv2d_backward
    conv2d_backward_params = convolution.conv2d_backward_params
    batch_norm = normalization.batch_norm
    batch_norm_backward = normalization.batch_norm_backward
    batch_norm_eval = normalization.batch_norm_eval
    relu = elementwise.relu
    relu_backward = elementwise.relu_backward
    max_pool2d = pooling.max_pool2d
    max_pool2d_backward = pooling.max_pool2d_backward
    max_pool2d_winner = pooling.max_pool2d_winner
    avg_pool2d = pooling.avg_pool2d
    avg_pool2d_backward = pooling.avg_pool2d_backward
    adaptive_avg_pool2d = pooling.adaptive_avg_pool2d
    adaptive_avg_pool2d_backward = pooling.adaptive_avg_pool2d_backward
    add = elementwise.add
    identity = elementwise.identity
    zero_pad_shortcut = elementwise.zero_pad_shortcut
    zero_pad_shortcut_backward = elementwise.zero_pad_shortcut_backward
    flatten = elementwise.flatten
    flatten_backward = elementwise.flatten_backward
    dropout_mask = elementwise.dropout_mask
    # As fast as they are:
    update_running_stats = staticmethod(functional.update_running_stats)
    dropout = staticmethod(functional.dropout)
    dropout_backward = staticmethod(functional.dropout_backward)
    linear = staticmethod(functional.linear)
    linear_backward = staticmethod(functional.linear_backward)
    cross_entropy = staticmethod(functional.cross_entropy)
    cross_entropy_backward = staticmethod(functional.cross_entropy_backward)
