"""Faster versions of the functions of ``glassnet.nn.functional``, with the threads and the memory that they use.

::

    Kernels                  one for each network: threads and memory, with the functions as its methods
      convolution            blocks, wide windows, small products
      normalization          sums and constants multiplied out
      pooling                comparisons of whole images
      elementwise            ReLU, addition, copies
    parallel                 BlockExecutor: blocks of a batch on several threads
    window, wide_window      the pixels under a convolution's kernel, as views of the image's memory
    layout                   channels-last memory
    workspace, array_pool    memory that is reused

A kernel, in this package's name, is a fast function; a convolution's kernel is, as everywhere, its weights. Names,
arguments and results are those of ``functional``. The differences:

- Rounding: sums have another order. ``batch_norm`` returns its statistics in float64, whatever the dtype of x.
- Memory: results are channels-last (see ``layout``), and share no memory with arguments. ``saved`` has other contents.
- Infinity and NaN: an infinite or NaN pixel also makes outputs of neighbouring windows NaN (``wide_window``).
  ``relu_backward`` gives NaN, not 0, for an infinite or NaN dy where x ≤ 0. ``max_pool2d_backward`` may give the dy of
  a window with NaN to another of its pixels, and an infinite dy also makes NaN.

To add a kernel, write the function into ``functional`` first. The kernel gets the executor as its first argument and
then the function's arguments; it belongs in the module of its family, in ``Kernels`` below, and in the comparison with
its function in tests/nn/test_kernels.py. Constants in capitals are tuned; ``benchmarks/roofline.py`` times each layer.
"""

from __future__ import annotations

from glassnet.nn import functional
from glassnet.nn.kernels import convolution, elementwise, normalization, pooling
from glassnet.nn.kernels.parallel import BlockExecutor


class Kernels(BlockExecutor):
    """The kernels as methods that share one executor's threads and memory: the argument ``executor`` is ``self``.

    The module ``functional`` has the same functions, so that a layer can use it in place of an instance.
    """

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
    # The functions of functional that are as fast as a kernel:
    update_running_stats = staticmethod(functional.update_running_stats)
    dropout = staticmethod(functional.dropout)
    dropout_backward = staticmethod(functional.dropout_backward)
    linear = staticmethod(functional.linear)
    linear_backward = staticmethod(functional.linear_backward)
    cross_entropy = staticmethod(functional.cross_entropy)
    cross_entropy_backward = staticmethod(functional.cross_entropy_backward)
    weighted_cross_entropy = staticmethod(functional.weighted_cross_entropy)
    weighted_cross_entropy_backward = staticmethod(functional.weighted_cross_entropy_backward)
