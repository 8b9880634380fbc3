"""The mathematics of a residual network in plain NumPy: layers, loss and optimizers, forward and backward.

**How to read it.** From top to bottom, as an image goes through the network: convolution, normalization, activation,
pooling, the residual connection, the last layer, the loss; then the optimizers, which use the gradients. A function
with a ``_backward`` function returns its result y and ``saved``, the arrays that the backward function needs
(``batch_norm`` returns the batch's statistics as well). The backward function takes ``saved`` and ``dy``, the gradient
of the loss L with respect to y (dy = ∂L/∂y, of y's shape). It returns the gradients with respect to the arguments:
dx = ∂L/∂x, dw = ∂L/∂w, ... Backward functions run in the opposite order; the dx that one returns is the dy of the layer
before it. That is backpropagation (Rumelhart, Hinton & Williams 1986). One residual block with a single convolution,
there and back::

    a, saved_a = conv2d(x, w, padding=1)
    f, saved_f, stats = batch_norm(a, gamma, beta)
    y, saved_y = relu(add(identity(x), f))

    df = relu_backward(dy, saved_y)  # the gradient of both terms of the sum
    da, dgamma, dbeta = batch_norm_backward(df, saved_f)
    dx_a, dw, db = conv2d_backward(da, saved_a)
    dx = add(identity(df), dx_a)

**Letters.** Images are x (N, C, H, W): N images, C channels, H rows, W columns. A convolution has O output channels
and kernels of kh rows and kw columns; its output has Ho rows and Wo columns. Stride s and dilation d are those of the
axis where they stand. x̃ is x with its padding around it: x̃[n, c, top + h, left + w] = x[n, c, h, w]. M = N·H·W is the
number of values per channel in a batch. Indices: n, c, o as above, (i, j) a pixel of the output, which belongs to one
window of x̃, and (u, v) an offset within the kernel. The comment at the end of a line gives the result's shape, or
``operand shapes -> result shape``.

**Contract.** Names, arguments and semantics are those of torch.nn.functional where it has the function. An
``IntOrPair`` is an int or a (vertical, horizontal) pair of ints. So is ``padding``, of which an axis may itself be a
(before, after) pair, as in np.pad. No function changes an array that it is given, and the dtype, float32 or float64, is
preserved. Arguments are not checked: the layers of ``glassnet.nn`` do that. ``glassnet.nn.kernels`` has faster
functions with the same names; tests compare them with these.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Saved = tuple[Any, ...]
Pair = tuple[int, int]
IntOrPair = int | Pair
Padding = int | tuple[IntOrPair, IntOrPair]


# Windows: the pixels that lie under a kernel. Convolution and pooling both slide a window over the image.


def pair(value: Any) -> Any:
    """Return (value, value) for a single value, and a pair as it is."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def output_size(
    size: Pair, kernel_size: IntOrPair, stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1
) -> Pair:
    """Return (Ho, Wo), the number of windows per axis of an image of (H, W) ``size``::

        Ho = ⌊(H + top + bottom − d·(kh − 1) − 1) / s⌋ + 1
        Wo = ⌊(W + left + right − d·(kw − 1) − 1) / s⌋ + 1

    ``padding`` is, written out, ((top, bottom), (left, right)). Pixels at the end that no whole window covers are left
    out.
    """
    axes = zip(size, pair(kernel_size), pair(stride), pair(padding), pair(dilation), strict=True)
    Ho, Wo = ((length + sum(pair(p)) - d * (k - 1) - 1) // s + 1 for length, k, s, p, d in axes)
    return Ho, Wo


def slices_at(offset: Pair, n_windows: Pair, stride: IntOrPair, dilation: IntOrPair) -> tuple[slice, slice]:
    """Return the slices of x̃'s rows and columns that give, for every window, its pixel at one ``offset`` (u, v).

    Window (i, j) of the (Ho, Wo) ``n_windows`` has pixel (s·i + d·u, s·j + d·v) there.
    """
    axes = zip(offset, n_windows, pair(stride), pair(dilation), strict=True)
    row_slice, column_slice = (slice(d * u, d * u + s * count, s) for u, count, s, d in axes)
    return row_slice, column_slice


def windows_of(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair, padding: Padding, dilation: IntOrPair, border: float = 0.0
) -> Array:
    """Return the pixels of every window: (N, C, H, W) -> (N, C, kh, kw, Ho, Wo); ``border`` is the padding's value.

    A pixel appears once for each window that covers it.
    """
    kh, kw = pair(kernel_size)
    Ho, Wo = output_size(x.shape[2:], kernel_size, stride, padding, dilation)
    vertical, horizontal = pair(padding)
    padded = np.pad(x, ((0, 0), (0, 0), pair(vertical), pair(horizontal)), constant_values=border)  # x̃
    windows = np.empty((*x.shape[:2], kh, kw, Ho, Wo), x.dtype)
    for u, v in np.ndindex(kh, kw):
        row_slice, column_slice = slices_at((u, v), (Ho, Wo), stride, dilation)
        windows[:, :, u, v] = padded[:, :, row_slice, column_slice]  # (N, C, Ho, Wo)
    return windows


def add_windows(windows: Array, shape: Any, stride: IntOrPair, padding: Padding, dilation: IntOrPair) -> Array:
    """Add every window's pixels back to where they came from: (N, C, kh, kw, Ho, Wo) -> ``shape`` (N, C, H, W).

    This is the backward pass of ``windows_of``. A pixel that was copied into several windows changes L through each
    copy, so its gradient is the sum of the copies' gradients. In other words: ``windows_of`` is a linear map from
    pixels to windows, a matrix of zeros and ones, and this is the map with the transposed matrix.
    """
    N, C, kh, kw, Ho, Wo = windows.shape
    (top, bottom), (left, right) = map(pair, pair(padding))
    H, W = shape[2:]
    padded = np.zeros((N, C, top + H + bottom, left + W + right), windows.dtype)
    for u, v in np.ndindex(kh, kw):  # at one offset, each window has another pixel, so that += loses no sum
        row_slice, column_slice = slices_at((u, v), (Ho, Wo), stride, dilation)
        padded[:, :, row_slice, column_slice] += windows[:, :, u, v]  # (N, C, Ho, Wo)
    return padded[:, :, top : top + H, left : left + W]  # (N, C, H, W)


def im2col(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1
) -> Array:
    """Return the patches of x, the pixels of one window in each row: (N, C, H, W) -> (N·Ho·Wo, C·kh·kw)."""
    windows = windows_of(x, kernel_size, stride, padding, dilation)
    N, C, kh, kw, Ho, Wo = windows.shape
    windows = windows.transpose(0, 4, 5, 1, 2, 3)  # (N, C, kh, kw, Ho, Wo) -> (N, Ho, Wo, C, kh, kw)
    return windows.reshape(N * Ho * Wo, C * kh * kw)  # (N·Ho·Wo, C·kh·kw)


def col2im(
    patches: Array,
    shape: Any,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Array:
    """Add each row back to the pixels of its window: (N·Ho·Wo, C·kh·kw) -> ``shape`` (N, C, H, W)."""
    kh, kw = pair(kernel_size)
    Ho, Wo = output_size(shape[2:], kernel_size, stride, padding, dilation)
    windows = patches.reshape(shape[0], Ho, Wo, shape[1], kh, kw)  # (N, Ho, Wo, C, kh, kw)
    windows = windows.transpose(0, 3, 4, 5, 1, 2)  # (N, C, kh, kw, Ho, Wo)
    return add_windows(windows, shape, stride, padding, dilation)  # (N, C, H, W)


# Convolution: the same small kernel is applied to every window of the image. With im2col it is one matrix product.


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Saved]:
    """Slide O kernels w (O, C, kh, kw) over x, padded with zeros to x̃, and add the bias b (O,): y (N, O, Ho, Wo)::

        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] · x̃[n, c, s·i + d·u, s·j + d·v]

    A cross-correlation, as in all of deep learning: the kernel is not flipped. The sum over (c, u, v) is a row of
    ``im2col`` times a kernel, so all sums are one matrix product (Chellapilla, Puri & Simard 2006). The patches, which
    are saved, take about kh·kw times the memory of x with stride 1: the price of a short backward pass.
    """
    N, O, (kh, kw) = len(x), len(w), w.shape[2:]
    Ho, Wo = output_size(x.shape[2:], (kh, kw), stride, padding, dilation)
    patches = im2col(x, (kh, kw), stride, padding, dilation)  # (N·Ho·Wo, C·kh·kw)
    kernels = w.reshape(O, -1)  # (O, C·kh·kw)
    y = patches @ kernels.T  # (N·Ho·Wo, C·kh·kw) (C·kh·kw, O) -> (N·Ho·Wo, O)
    if b is not None:
        y = y + b
    y = y.reshape(N, Ho, Wo, O).transpose(0, 3, 1, 2)  # (N, O, Ho, Wo)
    return y, (patches, x.shape, w, b is not None, stride, padding, dilation)


def conv2d_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array | None]:
    """Return dx, dw and db (None without a bias). Forward is one product of matrices, backward are two::

        y_rows = patches @ kernels.T + b      one row for each window (n, i, j), one column for each output channel o

        dkernels = dy_rows.T @ patches        db = Σ over the rows of dy_rows
        dpatches = dy_rows @ kernels          dx = col2im(dpatches)

    Written with indices, dw[o,c,u,v] = Σ_{n,i,j} dy[n,o,i,j] · x̃[n, c, s·i + d·u, s·j + d·v], and a pixel of dx is the
    sum of w[o,c,u,v] · dy[n,o,i,j] over all o and all windows (i, j) that contain it, (u, v) being its offset in each.
    """
    patches, shape, w, has_bias, stride, padding, dilation = saved
    O = len(w)
    kernels = w.reshape(O, -1)  # (O, C·kh·kw)
    dy_rows = dy.transpose(0, 2, 3, 1).reshape(-1, O)  # (N, O, Ho, Wo) -> (N·Ho·Wo, O)
    dkernels = dy_rows.T @ patches  # (O, N·Ho·Wo) (N·Ho·Wo, C·kh·kw) -> (O, C·kh·kw)
    db = dy_rows.sum(axis=0) if has_bias else None  # (O,)
    dpatches = dy_rows @ kernels  # (N·Ho·Wo, O) (O, C·kh·kw) -> (N·Ho·Wo, C·kh·kw)
    dx = col2im(dpatches, shape, w.shape[2:], stride, padding, dilation)  # (N, C, H, W)
    return dx, dkernels.reshape(w.shape), db


def conv2d_backward_params(dy: Array, saved: Saved) -> tuple[Array, Array | None]:
    """Return dw and db alone. The first layer's dx, the gradient of the images, is not needed in training."""
    _, dw, db = conv2d_backward(dy, saved)
    return dw, db


# Batch normalization (Ioffe & Szegedy 2015): each channel gets mean 0 and variance 1 over the batch, then a scale γ and
# a shift β that are learned. All sums are over the M values of one channel.


def as_nchw(values: Array) -> Array:
    """Return a vector (C,) with shape (1, C, 1, 1), which broadcasts over images (N, C, H, W)."""
    return np.reshape(values, (1, -1, 1, 1))  # (C,) -> (1, C, 1, 1)


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> tuple[Array, Saved, tuple[Array, Array]]:
    """Normalize x (N, C, H, W) by the batch's mean and variance, per channel (Ioffe & Szegedy 2015, algorithm 1)::

        μ = Σ x / M        σ² = Σ (x − μ)² / M        x̂ = (x − μ) / √(σ² + eps)        y = γ·x̂ + β

    This is training mode. γ and β are (C,). It also returns (μ, σ²), both (C,), for ``update_running_stats``.
    """
    mean = x.mean(axis=(0, 2, 3))  # (C,)
    centered = x - as_nchw(mean)  # (N, C, H, W)
    var = (centered**2).mean(axis=(0, 2, 3))  # (C,)
    inverse_std = 1 / np.sqrt(var + eps)  # (C,)
    x_hat = centered * as_nchw(inverse_std)  # (N, C, H, W)
    y = as_nchw(gamma) * x_hat + as_nchw(beta)  # (N, C, H, W)
    return y, (x_hat, gamma, inverse_std), (mean, var)


def batch_norm_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """Return dx (N, C, H, W), dγ and dβ (C,)::

        dβ = Σ dy        dγ = Σ dy·x̂        dx = γ / √(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    A value of x changes L through its own x̂, through σ² and through μ. The chain rule, with ∂L/∂x̂ = γ·dy::

        ∂L/∂σ² = Σ γ·dy · (x − μ) · (−1/2)·(σ² + eps)^(−3/2) = −γ·dγ / (2·(σ² + eps))
        ∂L/∂μ  = Σ γ·dy · (−1) / √(σ² + eps) = −γ·dβ / √(σ² + eps)          (∂σ²/∂μ = −2·Σ (x − μ) / M = 0)
        dx     = γ·dy / √(σ² + eps) + ∂L/∂σ² · 2·(x − μ) / M + ∂L/∂μ / M

    Geometrically: x̂ stays the same if a channel of x is shifted, and, up to eps, if it is scaled about its mean. L does
    not change in these two directions, so dx has no component along them: − dβ/M subtracts the mean of dy (the gradient
    through μ), and − x̂·dγ/M its component along x̂ (through σ²), of which the fraction eps / (σ² + eps) remains.
    """
    x_hat, gamma, inverse_std = saved
    M = dy.size // dy.shape[1]  # N·H·W
    dbeta = dy.sum(axis=(0, 2, 3))  # (C,)
    dgamma = (dy * x_hat).sum(axis=(0, 2, 3))  # (C,)
    projected = dy - as_nchw(dbeta / M) - x_hat * as_nchw(dgamma / M)  # (N, C, H, W)
    return as_nchw(gamma * inverse_std) * projected, dgamma, dbeta


def update_running_stats(
    running_mean: Array, running_var: Array, stats: tuple[Array, Array], count: int, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Return the running mean and variance (C,) after a batch with ``stats`` (μ, σ²) of M = ``count`` ≥ 2 values::

        running = (1 − momentum)·running + momentum·new        with the unbiased variance new = σ²·M / (M − 1)

    The batch itself is normalized by the biased σ², as in torch.nn.BatchNorm2d. A single value per channel has no
    unbiased variance; the layer raises a ShapeError for such a batch.
    """
    mean, var = stats
    new_mean = (1 - momentum) * running_mean + momentum * mean  # (C,)
    new_var = (1 - momentum) * running_var + momentum * var * (count / (count - 1))  # (C,)
    return new_mean, new_var


def batch_norm_eval(
    x: Array, gamma: Array, beta: Array, running_mean: Array, running_var: Array, eps: float = 1e-5
) -> Array:
    """Normalize x (N, C, H, W) by the running statistics (C,), as in evaluation mode.

    An image's result depends on no other image. There is no backward function: networks train in training mode.
    """
    x_hat = (x - as_nchw(running_mean)) / as_nchw(np.sqrt(running_var + eps))  # (N, C, H, W)
    return as_nchw(gamma) * x_hat + as_nchw(beta)  # (N, C, H, W)


# Activation.


def relu(x: Array) -> tuple[Array, Saved]:
    """Rectify (Nair & Hinton 2010): y = max(x, 0), for any shape. NaN stays NaN."""
    y = np.maximum(x, 0)
    return y, (y != 0,)  # True where x > 0, or NaN


def relu_backward(dy: Array, saved: Saved) -> Array:
    """Return dx = dy where x > 0 (or NaN), and 0 elsewhere, for any shape. At x = 0, the kink, torch chooses 0, too."""
    (positive,) = saved
    return np.where(positive, dy, np.zeros_like(dy))


# Pooling: a smaller image, of which each pixel stands for a window of the larger one.


def max_pool2d(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: Padding = 0, dilation: IntOrPair = 1
) -> tuple[Array, Saved]:
    """Return the largest value of each window, (N, C, H, W) -> (N, C, Ho, Wo), with x padded by −∞ to x̃::

        y[n,c,i,j] = max_{u,v} x̃[n, c, s·i + d·u, s·j + d·v]

    ``stride`` None is ``kernel_size``. If several values are equal, the first is the maximum, row by row. NaN counts as
    the largest.
    """
    stride = kernel_size if stride is None else stride
    windows = windows_of(x, kernel_size, stride, padding, dilation, border=-np.inf)
    N, C, kh, kw, Ho, Wo = windows.shape
    windows = windows.reshape(N, C, kh * kw, Ho, Wo)  # (N, C, kh, kw, Ho, Wo) -> (N, C, kh·kw, Ho, Wo)
    winner = windows.argmax(axis=2, keepdims=True)  # (N, C, 1, Ho, Wo), from 0 to kh·kw − 1
    y = np.take_along_axis(windows, winner, axis=2)[:, :, 0]  # (N, C, Ho, Wo)
    return y, (winner, x.shape, (kh, kw), stride, padding, dilation)


def max_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx (N, C, H, W): each window's dy goes to the pixel that was its maximum, and the others get 0."""
    winner, shape, (kh, kw), stride, padding, dilation = saved
    N, C, _, Ho, Wo = winner.shape
    dwindows = np.zeros((N, C, kh * kw, Ho, Wo), dy.dtype)
    np.put_along_axis(dwindows, winner, dy[:, :, np.newaxis], axis=2)  # (N, C, kh·kw, Ho, Wo)
    dwindows = dwindows.reshape(N, C, kh, kw, Ho, Wo)  # (N, C, kh·kw, Ho, Wo) -> (N, C, kh, kw, Ho, Wo)
    return add_windows(dwindows, shape, stride, padding, dilation)  # (N, C, H, W)


def max_pool2d_winner(saved: Saved) -> Array:
    """Return the index u·kw + v of each window's maximum: (N, C, Ho, Wo), integers."""
    winner: Array = saved[0]
    return winner[:, :, 0]  # (N, C, 1, Ho, Wo) -> (N, C, Ho, Wo)


def avg_pool2d(
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> tuple[Array, Saved]:
    """Return the mean of each window, (N, C, H, W) -> (N, C, Ho, Wo), with x padded by zeros to x̃::

        y[n,c,i,j] = Σ_{u,v} x̃[n, c, s·i + u, s·j + v] / count[i,j]

    The count is kh·kw: zeros of the padding count as pixels. Without ``count_include_pad`` it is the number of x's own
    pixels in the window. ``stride`` None is ``kernel_size``.
    """
    stride = kernel_size if stride is None else stride
    windows = windows_of(x, kernel_size, stride, padding, dilation=1)  # (N, C, kh, kw, Ho, Wo)
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    counted = windows_of(ones, kernel_size, stride, padding, dilation=1, border=float(count_include_pad))
    count = counted.sum(axis=(2, 3))  # (1, 1, kh, kw, Ho, Wo) -> (1, 1, Ho, Wo)
    return windows.sum(axis=(2, 3)) / count, (x.shape, windows.shape, stride, padding, count)  # (N, C, Ho, Wo)


def avg_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx (N, C, H, W): each window gives dy / count to every one of its pixels."""
    shape, windows_shape, stride, padding, count = saved
    dy_share = (dy / count)[:, :, np.newaxis, np.newaxis]  # (N, C, Ho, Wo) -> (N, C, 1, 1, Ho, Wo)
    dwindows = np.broadcast_to(dy_share, windows_shape)  # (N, C, kh, kw, Ho, Wo)
    return add_windows(dwindows, shape, stride, padding, dilation=1)  # (N, C, H, W)


def adaptive_avg_pool2d(x: Array) -> tuple[Array, Saved]:
    """Return the mean of each whole channel, torch's adaptive_avg_pool2d(x, 1): y = Σ_{h,w} x / (H·W)."""
    return x.mean(axis=(2, 3), keepdims=True), (x.shape,)  # (N, C, H, W) -> (N, C, 1, 1)


def adaptive_avg_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx (N, C, H, W): dy / (H·W) at every pixel of the channel."""
    ((N, C, H, W),) = saved
    return np.broadcast_to(dy / (H * W), (N, C, H, W)).copy()  # (N, C, 1, 1) -> (N, C, H, W)


# The residual connection (He et al. 2015, eq. 1): y = x + F(x), where F stands for the layers in between. They only
# have to learn the change of x. Backward, dx = dy + (the dx of F): dy reaches x unchanged, whatever F adds to it.


def add(a: Array, b: Array) -> Array:
    """Return a + b, both (N, C, H, W): forward, the shortcut's output and F(x); backward, the two gradients of x.

    It has no backward function: the derivative of a sum is 1 in both terms, so both get dy as it is.
    """
    return a + b


def identity(x: Array) -> Array:
    """Return a copy of x: the shortcut where x and F(x) have the same shape. Backward it is the identity of dy."""
    return x.copy()


def zero_pad_shortcut(x: Array, out_channels: int, stride: int = 1) -> tuple[Array, Saved]:
    """Return every ``stride``-th pixel, with new channels of zeros: (N, C, H, W) -> (N, out_channels, Ho, Wo)::

        y[n, before + c, i, j] = x[n, c, s·i, s·j]        before = (out_channels − C) // 2

    The shortcut without parameters where F halves the image and doubles the channels (He et al. 2015, sec. 3.3,
    option A). Half of the new channels come before x's channels and half after; if their number is odd, one more after.
    """
    new = out_channels - x.shape[1]
    before = new // 2
    pixels = x[:, :, ::stride, ::stride]  # (N, C, H, W) -> (N, C, Ho, Wo)
    y = np.pad(pixels, ((0, 0), (before, new - before), (0, 0), (0, 0)))  # (N, out_channels, Ho, Wo)
    return y, (x.shape, before, stride)


def zero_pad_shortcut_backward(dy: Array, saved: Saved) -> Array:
    """Return dx (N, C, H, W): dx[n, c, s·i, s·j] = dy[n, before + c, i, j], and 0 at the pixels that were left out."""
    shape, before, stride = saved
    dx = np.zeros(shape, dy.dtype)
    dx[:, :, ::stride, ::stride] = dy[:, before : before + shape[1]]  # (N, out_channels, Ho, Wo) -> (N, C, Ho, Wo)
    return dx


# The last layer: from feature maps to one score (logit) for each of K classes.


def flatten(x: Array) -> tuple[Array, Saved]:
    """Return each image as one row, in the order channels, rows, columns: (N, C, H, W) -> (N, C·H·W)."""
    return x.reshape(len(x), -1), (x.shape,)  # (N, C, H, W) -> (N, C·H·W)


def flatten_backward(dy: Array, saved: Saved) -> Array:
    """Return dx (N, C, H, W): dy with x's shape again."""
    dx: Array = dy.reshape(*saved)  # (N, C·H·W) -> (N, C, H, W)
    return dx


def dropout_mask(random: Array, p: float, dtype: Any) -> Array:
    """Return dropout's factors from ``random`` numbers in [0, 1), of x's shape: 0 with probability p, else 1 / (1 − p).

    The scale keeps the expected value of mask·x equal to x, so that evaluation needs no dropout at all.
    """
    scale = 1 / (1 - p) if p < 1 else 0.0
    return (random >= p).astype(dtype) * scale


def dropout(x: Array, mask: Array) -> tuple[Array, Saved]:
    """Return mask·x, for any shape: in training, each value is dropped at random (Srivastava et al. 2014)."""
    return mask * x, (mask,)


def dropout_backward(dy: Array, saved: Saved) -> Array:
    """Return dx = mask·dy, for any shape."""
    (mask,) = saved
    dx: Array = mask * dy
    return dx


def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Saved]:
    """Return y = x wᵀ + b (N, K): for each output, a weighted sum of all I inputs. x (N, I), w (K, I), b (K,)."""
    y = x @ w.T  # (N, I) (I, K) -> (N, K)
    return y if b is None else y + b, (x, w, b is not None)


def linear_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array | None]:
    """Return dx = dy w (N, I), dw = dyᵀ x (K, I) and db = Σ_n dy (K,); db is None without a bias."""
    x, w, has_bias = saved
    dx = dy @ w  # (N, K) (K, I) -> (N, I)
    dw = dy.T @ x  # (K, N) (N, I) -> (K, I)
    db = dy.sum(axis=0) if has_bias else None  # (K,)
    return dx, dw, db


# The loss: how far the predicted probabilities are from the labels, as one number.


def log_softmax(logits: Array) -> Array:
    """Return log softmax(z) = z − log Σ_k exp(z_k) over the last axis of z (..., K).

    Subtracting max z from z first changes nothing but that no exp can overflow.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (..., K)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (..., K)
    return result


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis of z (..., K): softmax(z)_k = exp(z_k) / Σ_j exp(z_j)."""
    return np.exp(log_softmax(logits))  # (..., K)


def cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> tuple[float, Saved]:
    """Return the mean cross-entropy of logits z (N, K) and integer labels (N,)::

        L = −1/N · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        q = (1 − ε)·onehot(label) + ε/K

    With ``label_smoothing`` ε = 0 it is the mean of −log(probability of the label). Smoothing: Szegedy et al. 2016,
    sec. 7, as in torch. Labels are from 0 to K − 1.
    """
    N, K = logits.shape
    off_target, target_index = label_smoothing / K, (np.arange(N), labels)
    log_p = log_softmax(logits)  # (N, K)
    q = np.full((N, K), off_target, log_p.dtype)
    q[target_index] = off_target + 1 - label_smoothing
    total = (1 - label_smoothing) * log_p[target_index].sum().item()
    if label_smoothing:  # without the test, a class whose logit is −∞ would give 0 · −∞ = NaN
        total += off_target * log_p.sum().item()
    return -total / N, (log_p, q)


def cross_entropy_backward(dloss: float, saved: Saved) -> Array:
    """Return dz = dloss · (softmax(z) − q) / N, (N, K): predicted minus target probabilities. ``dloss`` is ∂L/∂L = 1.

    It follows from ∂ log softmax(z)_k / ∂z_j = [j = k] − softmax(z)_j, and Σ_k q_k = 1.
    """
    log_p, q = saved
    dlogits: Array = dloss * (np.exp(log_p) - q) / len(log_p)  # (N, K)
    return dlogits


def weighted_cross_entropy(
    logits: Array, labels: Array, weight: Array, label_smoothing: float = 0.0
) -> tuple[float, Saved]:
    """Return the mean cross-entropy of logits z (N, K), in which an image counts by the weight w (K,) of its class::

        L = −1/W · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        W = Σ_n w[label_n]
        q[n,k] = w[k] · ((1 − ε)·onehot(label_n)[k] + ε/K)

    As in torch, the weights are also in the smoothing, but not all of that in W. Equal weights give ``cross_entropy``.
    """
    N, K = logits.shape
    log_p = log_softmax(logits)  # (N, K)
    q = np.full((N, K), label_smoothing / K, log_p.dtype)
    q[np.arange(N), labels] += 1 - label_smoothing
    q *= weight
    total_weight = weight[labels].sum()
    loss = -(np.where(q, log_p, 0) * q).sum() / total_weight  # where q is 0, log p may be −∞
    return loss.item(), (log_p, q, total_weight)


def weighted_cross_entropy_backward(dloss: float, saved: Saved) -> Array:
    """Return dz = dloss · (softmax(z) · Σ_k q[n,k] − q) / W, (N, K).

    As in ``cross_entropy_backward``, but an image's targets q[n, :] sum to about its weight in place of 1.
    """
    log_p, q, total_weight = saved
    dlogits: Array = dloss * (np.exp(log_p) * q.sum(axis=1, keepdims=True) - q) / total_weight  # (N, K)
    return dlogits


# The optimizers: from the gradient g of a weight w to its next value. They apply elementwise to w of any shape; g, v
# and m have the same shape.


def sgd_step(
    w: Array,
    g: Array,
    v: Array | None,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """Return the next w and v of stochastic gradient descent with momentum μ, as torch.optim.SGD::

        g ← g + weight_decay·w        v ← μ·v + g (the first time v ← g)        w ← w − lr·v

    With ``nesterov`` (Sutskever et al. 2013), w ← w − lr·(g + μ·v). Without momentum there is no v: it stays None.
    """
    if weight_decay:
        g = g + weight_decay * w
    if not momentum:
        return w - lr * g, None
    v = np.array(g) if v is None else momentum * v + g
    return w - lr * (g + momentum * v if nesterov else v), v


def adam_step(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> tuple[Array, Array, Array]:
    """Return the next w, m and v of step t = 1, 2, ... of Adam (Kingma & Ba 2015, algorithm 1), as torch.optim.Adam::

        g ← g + weight_decay·w
        m ← m + (1 − β₁)·(g − m)          v ← β₂·v + (1 − β₂)·g²
        w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)

    m and v, both 0 at first, are running means of g and g². ``decoupled`` is AdamW (Loshchilov & Hutter 2019): the
    decay stays out of g, and w ← (1 − lr·weight_decay)·w comes first.
    """
    if weight_decay and decoupled:
        w = w * (1 - lr * weight_decay)
    elif weight_decay:
        g = g + weight_decay * w
    m = m + (1 - betas[0]) * (g - m)
    v = betas[1] * v + (1 - betas[1]) * g * g
    denominator = np.sqrt(v) / sqrt(1 - betas[1] ** t) + eps
    return w - lr / (1 - betas[0] ** t) * m / denominator, m, v
