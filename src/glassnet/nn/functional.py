"""The mathematics of a residual network in plain NumPy: layers, loss and optimizers, forward and backward.

**How to read it.** From top to bottom, as an image goes through the network: convolution, normalization, activation,
pooling, the residual connection, the last layer, the loss; then the optimizers, which use the gradients. A function
returns its result and ``saved``, the arrays that its ``_backward`` needs (``batch_norm`` returns the batch's statistics
as well). The backward function takes ``dy``, the gradient of the loss L with respect to y (dy = ∂L/∂y, of y's shape),
and ``saved``. It returns the gradients with respect to the arguments: dx = ∂L/∂x, dw = ∂L/∂w, ... Backward functions
run in the opposite order, each on the dx of the layer behind it: that is backpropagation (Rumelhart, Hinton & Williams
1986). One residual block with a single convolution, there and back::

    f, s1 = conv2d(x, w, padding=1)
    f, s2, stats = batch_norm(f, gamma, beta)
    y, s3 = relu(add(x, f))

    g = relu_backward(dy, s3)
    df, dgamma, dbeta = batch_norm_backward(g, s2)
    dx, dw, db = conv2d_backward(df, s1)
    dx = add(g, dx)

**Letters.** Images are x (N, C, H, W): N of a batch, C channels, H rows, W columns. A convolution has O output channels
and kernels (kh, kw); its output has Ho rows and Wo columns. Stride s, dilation d; M = N·H·W is how many values one
channel has in a batch. Indices: n, c, o as above, (i, j) a pixel of the output, (u, v) a place in the kernel.
A comment behind a line is the shape of its result.

**Contract.** Names, arguments and semantics are those of torch.nn.functional where it has the function. A ``Size``
(``kernel_size``, ``stride``, ``dilation``) is an int or a (vertical, horizontal) pair. So is ``padding``, of which an
axis may itself be a (before, after) pair, as in np.pad. No function changes an array that it is given. float32 and
float64 stay what they are. ``glassnet.nn.kernels`` has the same functions at the speed of the machine; tests hold them
to these.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Saved = tuple[Any, ...]
Pair = tuple[int, int]
Size = int | Pair
Padding = int | tuple[Size, Size]


# Windows: the pixels that lie under a kernel. Convolution and pooling both slide one over the image.


def pair(value: Any) -> Any:
    """Return (value, value) for a single value, and a pair as it is."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def output_size(size: Pair, kernel_size: Size, stride: Size = 1, padding: Padding = 0, dilation: Size = 1) -> Pair:
    """Return (Ho, Wo), how many windows fit on an image of (H, W) ``size``, per axis::

        Ho = ⌊(H + before + after − d·(kh − 1) − 1) / s⌋ + 1

    Pixels at the end that no whole window covers are left out.
    """
    axes = zip(size, pair(kernel_size), pair(stride), pair(padding), pair(dilation), strict=True)
    Ho, Wo = ((length + sum(pair(p)) - d * (k - 1) - 1) // s + 1 for length, k, s, p, d in axes)
    return Ho, Wo


def pixels_under(place: Pair, count: Pair, stride: Size, dilation: Size) -> tuple[slice, slice]:
    """Return the rows and columns of the padded image that lie under one ``place`` (u, v) of the kernel, as slices.

    Window (i, j) of the ``count`` (Ho, Wo) windows has pixel (s·i + d·u, s·j + d·v) there.
    """
    axes = zip(place, count, pair(stride), pair(dilation), strict=True)
    rows, columns = (slice(d * u, d * u + s * windows, s) for u, windows, s, d in axes)
    return rows, columns


def windows_of(
    x: Array, kernel_size: Size, stride: Size, padding: Padding, dilation: Size, border: float = 0.0
) -> Array:
    """Return the pixels under every window: (N, C, H, W) -> (N, C, kh, kw, Ho, Wo); ``border`` is the padding's value.

    A pixel appears once for each window that covers it.
    """
    kh, kw = pair(kernel_size)
    Ho, Wo = output_size(x.shape[2:], kernel_size, stride, padding, dilation)
    vertical, horizontal = pair(padding)
    padded = np.pad(x, ((0, 0), (0, 0), pair(vertical), pair(horizontal)), constant_values=border)  # (N, C, Hp, Wp)
    windows = np.empty((*x.shape[:2], kh, kw, Ho, Wo), x.dtype)
    for u, v in np.ndindex(kh, kw):
        rows, columns = pixels_under((u, v), (Ho, Wo), stride, dilation)
        windows[:, :, u, v] = padded[:, :, rows, columns]  # (N, C, Ho, Wo)
    return windows


def add_windows(windows: Array, shape: Any, stride: Size, padding: Padding, dilation: Size) -> Array:
    """Add every window's pixels back to where they came from: (N, C, kh, kw, Ho, Wo) -> ``shape`` (N, C, H, W).

    This is the transpose of ``windows_of``, and so its backward pass: a pixel that several windows read gets the sum of
    their gradients.
    """
    N, C, kh, kw, Ho, Wo = windows.shape
    (top, bottom), (left, right) = map(pair, pair(padding))
    H, W = shape[2:]
    padded = np.zeros((N, C, top + H + bottom, left + W + right), windows.dtype)
    for u, v in np.ndindex(kh, kw):
        rows, columns = pixels_under((u, v), (Ho, Wo), stride, dilation)
        padded[:, :, rows, columns] += windows[:, :, u, v]  # (N, C, Ho, Wo)
    return padded[:, :, top : top + H, left : left + W]  # (N, C, H, W)


def im2col(x: Array, kernel_size: Size, stride: Size = 1, padding: Padding = 0, dilation: Size = 1) -> Array:
    """Return each window as a row: (N, C, H, W) -> (N·Ho·Wo, C·kh·kw)."""
    windows = windows_of(x, kernel_size, stride, padding, dilation)
    N, C, kh, kw, Ho, Wo = windows.shape
    windows = windows.transpose(0, 4, 5, 1, 2, 3)  # (N, C, kh, kw, Ho, Wo) -> (N, Ho, Wo, C, kh, kw)
    return windows.reshape(N * Ho * Wo, C * kh * kw)  # (N·Ho·Wo, C·kh·kw)


def col2im(
    columns: Array, shape: Any, kernel_size: Size, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Array:
    """Add each row back to the pixels of its window: (N·Ho·Wo, C·kh·kw) -> ``shape`` (N, C, H, W)."""
    kh, kw = pair(kernel_size)
    Ho, Wo = output_size(shape[2:], kernel_size, stride, padding, dilation)
    windows = columns.reshape(shape[0], Ho, Wo, shape[1], kh, kw)  # (N, Ho, Wo, C, kh, kw)
    windows = windows.transpose(0, 3, 4, 5, 1, 2)  # (N, C, kh, kw, Ho, Wo)
    return add_windows(windows, shape, stride, padding, dilation)  # (N, C, H, W)


# Convolution: the same small kernel looks at every place of the image. With im2col it is one matrix product.


def conv2d(
    x: Array, w: Array, b: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> tuple[Array, Saved]:
    """Slide O kernels w (O, C, kh, kw) over x, padded by zeros, and add the bias b (O,)::

        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] · x[n, c, s·i + d·u, s·j + d·v]

    A cross-correlation, as in all of deep learning: the kernel is not flipped. The sum over (c, u, v) is a row of
    ``im2col`` times a kernel, so all sums are one matrix product (Chellapilla, Puri & Simard 2006).
    """
    N, O, (kh, kw) = len(x), len(w), w.shape[2:]
    Ho, Wo = output_size(x.shape[2:], (kh, kw), stride, padding, dilation)
    columns = im2col(x, (kh, kw), stride, padding, dilation)  # (N·Ho·Wo, C·kh·kw)
    y = columns @ w.reshape(O, -1).T  # (N·Ho·Wo, C·kh·kw) (C·kh·kw, O) -> (N·Ho·Wo, O)
    if b is not None:
        y = y + b
    y = y.reshape(N, Ho, Wo, O).transpose(0, 3, 1, 2)  # (N, O, Ho, Wo)
    return y, (columns, x.shape, w, stride, padding, dilation)


def conv2d_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """Return dx, dw and db, from the matrices of the forward pass: Y = X Wᵀ + b, with the columns X of ``im2col``::

        Y[r,o] = b[o] + Σ_k X[r,k]·W[o,k]
        dW = dYᵀ X        db = Σ_r dY[r,:]        dX = dY W        dx = col2im(dX)

    In indices, dw[o,c,u,v] = Σ_{n,i,j} dy[n,o,i,j] · x[n, c, s·i + d·u, s·j + d·v], and a pixel of dx collects
    w[o,c,u,v] · dy[n,o,i,j] from every window (i, j) under whose place (u, v) it lies.
    """
    columns, shape, w, stride, padding, dilation = saved
    O = len(w)
    rows = dy.transpose(0, 2, 3, 1).reshape(-1, O)  # (N, O, Ho, Wo) -> (N·Ho·Wo, O)
    dw = (rows.T @ columns).reshape(w.shape)  # (O, N·Ho·Wo) (N·Ho·Wo, C·kh·kw) -> (O, C, kh, kw)
    db = rows.sum(axis=0)  # (O,)
    dcolumns = rows @ w.reshape(O, -1)  # (N·Ho·Wo, O) (O, C·kh·kw) -> (N·Ho·Wo, C·kh·kw)
    dx = col2im(dcolumns, shape, w.shape[2:], stride, padding, dilation)  # (N, C, H, W)
    return dx, dw, db


def conv2d_backward_params(dy: Array, saved: Saved) -> tuple[Array, Array]:
    """Return dw and db alone: in training nobody needs the first layer's dx, the gradient of the images."""
    _, dw, db = conv2d_backward(dy, saved)
    return dw, db


# Batch normalization (Ioffe & Szegedy 2015): each channel gets mean 0 and variance 1 over the batch, then a scale γ and
# a shift β that are learned.


def per_channel(values: Array) -> Array:
    """Return a vector (C,) in a shape that meets images (N, C, H, W) channel by channel."""
    return np.reshape(values, (1, -1, 1, 1))  # (C,) -> (1, C, 1, 1)


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> tuple[Array, Saved, tuple[Array, Array]]:
    """Normalize by the batch's own mean and variance, per channel (Ioffe & Szegedy 2015, algorithm 1)::

        μ = Σ x / M        σ² = Σ (x − μ)² / M        x̂ = (x − μ) / √(σ² + eps)        y = γ·x̂ + β

    This is training mode. It also returns (μ, σ²), of shape (C,), for ``update_running_stats``.
    """
    mean = x.mean(axis=(0, 2, 3))  # (C,)
    centered = x - per_channel(mean)  # (N, C, H, W)
    var = (centered**2).mean(axis=(0, 2, 3))  # (C,)
    inverse_std = 1 / np.sqrt(var + eps)  # (C,)
    x_hat = centered * per_channel(inverse_std)  # (N, C, H, W)
    y = per_channel(gamma) * x_hat + per_channel(beta)  # (N, C, H, W)
    return y, (x_hat, gamma, inverse_std), (mean, var)


def batch_norm_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """Return dx, dγ and dβ::

        dβ = Σ dy        dγ = Σ dy·x̂        dx = γ / √(σ² + eps) · (dy − dβ/M − x̂·dγ/M)

    If μ and σ² were constants, dx would be γ / √(σ² + eps) · dy. But they are computed from x: x̂ stays the same when
    all of x is shifted, or stretched away from its mean. L cannot change in these two directions, so dx has nothing
    along them: − dβ/M takes out the mean of dy (the way through μ), and − x̂·dγ/M its part along x̂ (through σ²).
    """
    x_hat, gamma, inverse_std = saved
    M = dy.size // dy.shape[1]  # N·H·W
    dbeta = dy.sum(axis=(0, 2, 3))  # (C,)
    dgamma = (dy * x_hat).sum(axis=(0, 2, 3))  # (C,)
    dx = dy - per_channel(dbeta / M) - x_hat * per_channel(dgamma / M)  # (N, C, H, W)
    return per_channel(gamma * inverse_std) * dx, dgamma, dbeta


def update_running_stats(
    running_mean: Array, running_var: Array, stats: tuple[Array, Array], count: int, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Return the running mean and variance (C,) after a batch with ``stats`` (μ, σ²) of M = ``count`` values::

        running = (1 − momentum)·running + momentum·new        with the unbiased variance new = σ²·M / (M − 1)

    The batch itself is normalized by the biased σ², as in torch.nn.BatchNorm2d.
    """
    mean, var = stats
    new_mean = (1 - momentum) * running_mean + momentum * mean  # (C,)
    new_var = (1 - momentum) * running_var + momentum * var * (count / (count - 1))  # (C,)
    return new_mean, new_var


def batch_norm_eval(
    x: Array, gamma: Array, beta: Array, running_mean: Array, running_var: Array, eps: float = 1e-5
) -> Array:
    """Normalize by the running statistics, as in evaluation mode: an image's result depends on no other image."""
    x_hat = (x - per_channel(running_mean)) / per_channel(np.sqrt(running_var + eps))  # (N, C, H, W)
    return per_channel(gamma) * x_hat + per_channel(beta)  # (N, C, H, W)


# Activation.


def relu(x: Array) -> tuple[Array, Saved]:
    """Rectify (Nair & Hinton 2010): y = max(x, 0), for any shape. NaN stays NaN."""
    y = np.maximum(x, 0)
    return y, (y != 0,)  # True where x > 0, or NaN


def relu_backward(dy: Array, saved: Saved) -> Array:
    """Return dx = dy where x > 0, and 0 elsewhere. At x = 0, where there is a kink, torch chooses 0, too."""
    (positive,) = saved
    return np.where(positive, dy, np.zeros_like(dy))


# Pooling: a smaller image, of which each pixel stands for a window of the larger one.


def max_pool2d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1
) -> tuple[Array, Saved]:
    """Return the largest value under each window; ``stride`` None is ``kernel_size``, and the padding is −∞::

        y[n,c,i,j] = max_{u,v} x[n, c, s·i + d·u, s·j + d·v]

    Where several are equal, the first of them counts, row by row. NaN counts as the largest.
    """
    stride = kernel_size if stride is None else stride
    windows = windows_of(x, kernel_size, stride, padding, dilation, border=-np.inf)
    N, C, kh, kw, Ho, Wo = windows.shape
    windows = windows.reshape(N, C, kh * kw, Ho, Wo)  # (N, C, kh, kw, Ho, Wo) -> (N, C, kh·kw, Ho, Wo)
    winner = windows.argmax(axis=2, keepdims=True)  # (N, C, 1, Ho, Wo), from 0 to kh·kw − 1
    y = np.take_along_axis(windows, winner, axis=2)[:, :, 0]  # (N, C, Ho, Wo)
    return y, (winner, x.shape, (kh, kw), stride, padding, dilation)


def max_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx: each window hands its dy to the pixel that was its maximum, and nothing to the others."""
    winner, shape, (kh, kw), stride, padding, dilation = saved
    N, C, _, Ho, Wo = winner.shape
    dwindows = np.zeros((N, C, kh * kw, Ho, Wo), dy.dtype)
    np.put_along_axis(dwindows, winner, dy[:, :, np.newaxis], axis=2)  # (N, C, kh·kw, Ho, Wo)
    dwindows = dwindows.reshape(N, C, kh, kw, Ho, Wo)  # (N, C, kh·kw, Ho, Wo) -> (N, C, kh, kw, Ho, Wo)
    return add_windows(dwindows, shape, stride, padding, dilation)  # (N, C, H, W)


def max_pool2d_winner(saved: Saved) -> Array:
    """Return which place of its window, u·kw + v, was each maximum: (N, C, Ho, Wo)."""
    winner: Array = saved[0]
    return winner[:, :, 0]  # (N, C, 1, Ho, Wo) -> (N, C, Ho, Wo)


def avg_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0) -> tuple[Array, Saved]:
    """Return the mean under each window::

        y[n,c,i,j] = Σ_{u,v} x[n, c, s·i + u, s·j + v] / (kh·kw)

    ``stride`` None is ``kernel_size``, and the padding's zeros count.
    """
    stride = kernel_size if stride is None else stride
    windows = windows_of(x, kernel_size, stride, padding, dilation=1)  # (N, C, kh, kw, Ho, Wo)
    return windows.mean(axis=(2, 3)), (x.shape, windows.shape, stride, padding)  # (N, C, Ho, Wo)


def avg_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx: each window hands dy / (kh·kw) to every one of its pixels."""
    shape, windows_shape, stride, padding = saved
    kh, kw = windows_shape[2:4]
    each = dy[:, :, np.newaxis, np.newaxis] / (kh * kw)  # (N, C, Ho, Wo) -> (N, C, 1, 1, Ho, Wo)
    dwindows = np.broadcast_to(each, windows_shape)  # (N, C, kh, kw, Ho, Wo)
    return add_windows(dwindows, shape, stride, padding, dilation=1)  # (N, C, H, W)


def adaptive_avg_pool2d(x: Array) -> tuple[Array, Saved]:
    """Return the mean of each whole channel, torch's adaptive_avg_pool2d(x, 1): y = Σ_{h,w} x / (H·W)."""
    return x.mean(axis=(2, 3), keepdims=True), (x.shape,)  # (N, C, H, W) -> (N, C, 1, 1)


def adaptive_avg_pool2d_backward(dy: Array, saved: Saved) -> Array:
    """Return dx = dy / (H·W), at every pixel of the channel."""
    ((N, C, H, W),) = saved
    return np.broadcast_to(dy / (H * W), (N, C, H, W)).copy()  # (N, C, 1, 1) -> (N, C, H, W)


# The residual connection (He et al. 2015, eq. 1): y = x + F(x), where F is the layers between. The layers only have to
# learn what to change about x. Backward, dx = dy + F'(dy): the gradient reaches x whole, whatever F does to it.


def add(a: Array, b: Array) -> Array:
    """Return a + b, where two paths meet. Forward they are the shortcut's output and F(x), backward their gradients.

    The derivative of a sum is 1 in both terms, so both get dy as it is.
    """
    return a + b


def identity(x: Array) -> Array:
    """Return a copy of x: the shortcut where x and F(x) have one shape. Its backward pass is the same, of dy."""
    return x.copy()


def zero_pad_shortcut(x: Array, out_channels: int, stride: int = 1) -> tuple[Array, Saved]:
    """Return every ``stride``-th pixel, with new channels of zeros, half before and half after, the odd one after.

    The shortcut without parameters where F halves the image and doubles the channels (He et al. 2015, sec. 3.3,
    option A). With p = (out_channels − C) // 2, y[n, p + c, i, j] = x[n, c, s·i, s·j].
    """
    new = out_channels - x.shape[1]
    before = new // 2
    pixels = x[:, :, ::stride, ::stride]  # (N, C, H, W) -> (N, C, Ho, Wo)
    y = np.pad(pixels, ((0, 0), (before, new - before), (0, 0), (0, 0)))  # (N, out_channels, Ho, Wo)
    return y, (x.shape, before, stride)


def zero_pad_shortcut_backward(dy: Array, saved: Saved) -> Array:
    """Return dx: dx[n, c, s·i, s·j] = dy[n, p + c, i, j], and 0 at the pixels that were left out."""
    shape, before, stride = saved
    dx = np.zeros(shape, dy.dtype)
    dx[:, :, ::stride, ::stride] = dy[:, before : before + shape[1]]  # (N, out_channels, Ho, Wo) -> (N, C, Ho, Wo)
    return dx


# The last layer: from images to one score (logit) for each of K classes.


def flatten(x: Array) -> tuple[Array, Saved]:
    """Return each image as one row, in the order channels, rows, columns."""
    return x.reshape(len(x), -1), (x.shape,)  # (N, C, H, W) -> (N, C·H·W)


def flatten_backward(dy: Array, saved: Saved) -> Array:
    """Return dx: the same numbers in x's shape again."""
    dx: Array = dy.reshape(*saved)  # (N, C·H·W) -> (N, C, H, W)
    return dx


def dropout_mask(random: Array, p: float, dtype: Any) -> Array:
    """Return what dropout multiplies by, from ``random`` numbers in [0, 1): 0 with probability p, else 1 / (1 − p).

    The scale keeps the mean of what is multiplied as it was, so that evaluation needs no dropout at all.
    """
    scale = 1 / (1 - p) if p < 1 else 0.0
    return (random >= p).astype(dtype) * scale


def dropout(x: Array, mask: Array) -> tuple[Array, Saved]:
    """Return mask·x, for any shape: in training, each number is dropped by chance (Srivastava et al. 2014)."""
    return mask * x, (mask,)


def dropout_backward(dy: Array, saved: Saved) -> Array:
    """Return dx = mask·dy."""
    (mask,) = saved
    dx: Array = mask * dy
    return dx


def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Saved]:
    """Return x wᵀ + b: for each output, a weighted sum of all inputs. x (N, I), w (K, I), b (K,)."""
    y = x @ w.T  # (N, I) (I, K) -> (N, K)
    return y if b is None else y + b, (x, w)


def linear_backward(dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """Return dx = dy w, dw = dyᵀ x and db = Σ_n dy."""
    x, w = saved
    dx = dy @ w  # (N, K) (K, I) -> (N, I)
    dw = dy.T @ x  # (K, N) (N, I) -> (K, I)
    return dx, dw, dy.sum(axis=0)  # db (K,)


# The loss: how far the predicted probabilities are from the labels, as one number.


def log_softmax(logits: Array) -> Array:
    """Return log softmax(z) = z − log Σ_k exp(z_k) over the last axis, less max z first: no exp can overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (..., K)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (..., K)
    return result


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis: softmax(z)_k = exp(z_k) / Σ_j exp(z_j)."""
    return np.exp(log_softmax(logits))  # (..., K)


def cross_entropy(logits: Array, labels: Array, label_smoothing: float = 0.0) -> tuple[float, Saved]:
    """Return the mean cross-entropy of logits z (N, K) and integer labels (N,)::

        L = −1/N · Σ_{n,k} q[n,k] · log softmax(z)[n,k]        q = (1 − ε)·onehot(label) + ε/K

    With ``label_smoothing`` ε = 0 it is the mean of −log(probability of the label). Smoothing: Szegedy et al. 2016,
    sec. 7, as in torch.
    """
    N, K = logits.shape
    others, true = label_smoothing / K, (np.arange(N), labels)
    log_p = log_softmax(logits)  # (N, K)
    q = np.full((N, K), others, log_p.dtype)
    q[true] = others + 1 - label_smoothing
    total = (1 - label_smoothing) * log_p[true].sum().item()
    if label_smoothing:  # 0 · −∞, of a class whose logit is −∞, would be NaN
        total += others * log_p.sum().item()
    return -total / N, (log_p, q)


def cross_entropy_backward(dloss: float, saved: Saved) -> Array:
    """Return dz = dloss · (softmax(z) − q) / N: what is predicted minus what should be. ``dloss`` is ∂L/∂L = 1.

    It follows from ∂ log softmax(z)_k / ∂z_j = [j = k] − softmax(z)_j, and Σ_k q_k = 1.
    """
    log_p, q = saved
    dlogits: Array = dloss * (np.exp(log_p) - q) / len(log_p)  # (N, K)
    return dlogits


# The optimizers: from the gradient g of a weight w to its next value. They go over every w alike, whatever its shape.


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
