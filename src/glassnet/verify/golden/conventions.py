"""The conventions of glassnet's layers and optimizers in words, as every manifest states them."""

from __future__ import annotations

CONVENTIONS: dict[str, str] = {
    "tensors": "C-ordered, little-endian. Images and activations are (N, C, H, W), features (N, F), logits (N, K).",
    "weights": "Conv2d (out_channels, in_channels, kernel_h, kernel_w), Linear (out_features, in_features).",
    "images": "(pixels / scale - mean) / std, per channel; channels in the order red, green, blue.",
    "Conv2d": "Cross-correlation: the kernel is not flipped. padding zeros on each side; the first window begins at "
    "the first of them. Output length (L + 2*padding - kernel_size) // stride + 1.",
    "BatchNorm2d": "(x - mean) / sqrt(var + eps) * weight + bias. Training mode: mean and biased variance (divided by "
    "n) over N, H, W of the batch. running = (1 - momentum)*running + momentum*new, where the new variance is the "
    "unbiased one (divided by n - 1); momentum null stands for 1/num_batches_tracked. Evaluation mode: the running "
    "mean and variance.",
    "ReLU": "max(x, 0), and NaN of NaN. Its gradient is 0 at 0; at NaN it is the output's gradient.",
    "MaxPool2d": "Padding never wins. Of equal maxima the first in row-major order gets the gradient.",
    "AvgPool2d": "The mean of kernel_size^2 numbers; padded zeros count.",
    "ZeroPadShortcut": "Every stride-th pixel from the first one on. Half of the new channels, zeros, come before, "
    "half after.",
    "Sum": "The shortcut's output plus the body's.",
    "Block": "The output of a residual block under the block's name: its input.",
    "Dropout": "Training mode: x times the mask in inputs/dropout, 0 or 1/(1 - p). Evaluation mode: x.",
    "Flatten": "(C, H, W) in that order.",
    "CrossEntropyLoss": "-1/N * sum over n, k of q*log softmax(z), with q = (1 - s)*one_hot + s/K and s the recipe's "
    "label_smoothing. With inputs/class_weights w: q times w[k], and the sum of w[label] in place of N. The gradients "
    "are those of this loss.",
    "gradients": "steps/k/gradients are those of step k before clipping and decay. Step 1's are train/gradients again.",
    "clipping": "clip_grad_norm c: all gradients times c / (norm + 1e-6) if that is below 1, with norm the L2 norm of "
    "all of them together.",
    "weight decay": "SGD and Adam: g = gradient + weight_decay*w. AdamW: w = (1 - lr*weight_decay)*w before the "
    "update. 'updates' has the weight_decay of each parameter.",
    "learning rate": "learning_rates[k - 1] in step k, times the lr_factor of the parameter in 'updates'.",
    "SGD": "v = g in the first step, then momentum*v + g. w = w - lr*v. The learning rate is not in v; no dampening. "
    "Without momentum there is no momentum_buffer.",
    "Nesterov": "w = w - lr*(g + momentum*v) with the new v.",
    "Adam": "m = m + (1 - beta1)*(g - m). v = beta2*v + (1 - beta2)*g*g. w = w - lr/(1 - beta1^k) * m / "
    "(sqrt(v)/sqrt(1 - beta2^k) + eps). m is exp_avg, v exp_avg_sq, k step.",
    "average": "With the recipe's ema d, for parameters and running statistics: a = d_k*a + (1 - d_k)*w after step k, "
    "d_k = min(d, (1 + k)/(10 + k)). At first a is the initial value.",
    "steps": "All steps take the same batch, in training mode. steps/k/state has parameters and buffers after step k.",
}
