// The layers of a residual network, forward and backward. All numbers are float64, in the order (image, channel, row,
// column). x is a layer's input, y its output; dy, dx, dw, ... are the gradients of the loss with respect to y, x, w.

/** Mistakes in the backward pass that the page can plant, by key, and the kind of layer that has them. */
const BUGS = {
  "lost skip gradient": {
    kind: "Residual",
    title: "Lost skip gradient",
    sentence: "A residual block hands back the gradient of its body alone: the one along the skip connection is lost.",
  },
  "flipped kernel": {
    kind: "Conv2d",
    title: "Flipped kernel",
    sentence: "A convolution's dx slides the kernel over dy without turning it by 180°.",
  },
  "missing mean term": {
    kind: "BatchNorm2d",
    title: "Missing mean term",
    sentence: "BatchNorm's dx forgets that the mean of the batch depends on x, too: − dβ/M is missing.",
  },
  "forgotten mask": {
    kind: "ReLU",
    title: "Forgotten mask",
    sentence: "ReLU hands back dy everywhere, and not only where x > 0.",
  },
};

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);

/**
 * A layer: `forward` and `backward` do what all layers have in common; `output` and `inputGradient` are its own.
 * The memory of its results is reused in the next pass.
 */
class Layer {
  /**
   * @param {Object} node the layer's node in the graph
   * @param {Object} tensors {parameters, buffers, gradients} of the network, by key; the layer uses its own
   */
  constructor(node, {parameters, buffers, gradients}) {
    this.node = node;
    this.name = node.name;
    this.memory = {};
    const own = (tensors, keys) =>
      Object.fromEntries(Object.keys(keys).map((key) => [key.slice(node.name.length + 1), tensors[key].data]));
    Object.assign(this, own(parameters, node.parameters), own(buffers, node.buffers)); // this.weight, this.bias, ...
    this.gradients = own(gradients, node.parameters);
  }

  /** Return `length` numbers of memory under a name, with whatever the last pass left in them. */
  array(name, length) {
    if (!(this.memory[name]?.length >= length)) this.memory[name] = new Float64Array(length);
    return this.memory[name].subarray(0, length);
  }

  outputArray(pass) {
    return this.array("y", pass.count * product(this.node.output_shape));
  }

  inputGradientArray(pass) {
    return this.array("dx", pass.count * product(this.node.input_shape));
  }

  /** Return y of x; keep both, and set muted channels to 0. */
  forward(x, pass) {
    this.x = x;
    this.y = this.output(x, pass);
    this.mute(this.y, pass);
    pass.keepOutput(this.name, this.y, this.node.output_shape);
    return this.y;
  }

  /** Return dx of dy, and fill the gradients of the parameters. Muted channels hand back nothing. */
  backward(dy, pass) {
    if (pass.edits.muted.has(this.name)) this.mute((dy = dy.slice()), pass);
    pass.outputGradients[this.name] = dy;
    return this.inputGradient(dy, pass);
  }

  mute(values, {count, edits}) {
    const [channels, ...size] = this.node.output_shape, pixels = product(size);
    for (const channel of edits.muted.get(this.name) ?? []) {
      for (let n = 0; n < count; n++) {
        const begin = (n * channels + channel) * pixels;
        values.fill(0, begin, begin + pixels);
      }
    }
  }
}

/**
 * An image with zeros around it, over which a window of k×k pixels moves.
 *
 * The pixel of window p under tap t, a place in the window and a channel, is `pixels[starts[p] + taps[t]]`.
 */
class BorderedImage {
  /**
   * @param {number[]} shape (channels, height, width) of the image
   * @param {{border: number, step: number}} place zeros before the first pixel, and the distance of two pixels
   * @param {number[]} size (height, width) with all zeros
   * @param {number} kernel rows and columns of the window, which moves by `stride`
   * @param {number[]} windows (rows, columns) of windows
   */
  constructor([channels, height, width], {border, step}, [fullHeight, fullWidth], kernel, stride, [rows, columns]) {
    const index = (c, h, w) => (c * fullHeight + h) * fullWidth + w;
    const list = (C, H, W, at) =>
      Int32Array.from({length: C * H * W}, (_, i) => at(Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W));
    this.pixels = new Float64Array(channels * fullHeight * fullWidth);
    this.places = list(channels, height, width, (c, h, w) => index(c, border + h * step, border + w * step));
    this.starts = list(1, rows, columns, (_, i, j) => index(0, i * stride, j * stride));
    this.taps = list(channels, kernel, kernel, index);
  }

  /** Put image n of x (N, channels, height, width) between the zeros. */
  put(x, n) {
    const {pixels, places} = this, begin = n * places.length;
    for (let i = 0; i < places.length; i++) pixels[places[i]] = x[begin + i];
  }
}

/** Four outputs at a time: the weights of output o at tap t are at ((o >> 2)·taps + t)·4 + (o & 3), padded with 0. */
function packKernels(packed, outputs, taps, weightAt) {
  for (let o = 0; o < outputs; o++) {
    for (let t = 0; t < taps; t++) packed[((o >> 2) * taps + t) * 4 + (o & 3)] = weightAt(o, t);
  }
}

const sums = new Float64Array(8);

/**
 * Slide kernels over an image: y[o, p] = b[o] + Σ_t w[o, t] · x̃[p, t], with x̃[p, t] the pixel of window p under tap t.
 *
 * Two windows and four outputs at a time: eight sums stay in the processor's registers, and each number that is read
 * is used several times.
 *
 * @param {BorderedImage} image x̃
 * @param {Float64Array} kernels w from `packKernels`
 * @param {Float64Array} bias (outputs,), or undefined
 * @param {Float64Array} y receives (outputs, windows), from index `begin` on
 */
function slide({pixels, starts, taps}, kernels, bias, outputs, y, begin) {
  const windows = starts.length;
  for (let o = 0; o < outputs; o += 4) {
    for (let p = 0; p < windows; p += 2) {
      const first = starts[p], second = starts[Math.min(p + 1, windows - 1)];
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let t = 0, k = o * taps.length; t < taps.length; t++, k += 4) {
        const tap = taps[t], a = pixels[first + tap], b = pixels[second + tap];
        const w0 = kernels[k], w1 = kernels[k + 1], w2 = kernels[k + 2], w3 = kernels[k + 3];
        a0 += w0 * a, a1 += w1 * a, a2 += w2 * a, a3 += w3 * a;
        b0 += w0 * b, b1 += w1 * b, b2 += w2 * b, b3 += w3 * b;
      }
      sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3, sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
      for (let q = 0; q < 4 && o + q < outputs; q++) {
        const shift = bias ? bias[o + q] : 0, at = begin + (o + q) * windows + p;
        y[at] = sums[q] + shift;
        if (p + 1 < windows) y[at + 1] = sums[4 + q] + shift;
      }
    }
  }
}

/** Add to dw (outputs, taps): dw[o, t] += Σ_p dy[o, p] · x̃[p, t], two taps and four outputs at a time. */
function addKernelGradient({pixels, starts, taps}, dy, begin, outputs, dw) {
  const windows = starts.length;
  for (let o = 0; o < outputs; o += 4) {
    const rows = [0, 1, 2, 3].map((q) => begin + Math.min(o + q, outputs - 1) * windows);
    const [row0, row1, row2, row3] = rows;
    for (let t = 0; t < taps.length; t += 2) {
      const first = taps[t], second = taps[Math.min(t + 1, taps.length - 1)];
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let p = 0; p < windows; p++) {
        const start = starts[p], a = pixels[start + first], b = pixels[start + second];
        const d0 = dy[row0 + p], d1 = dy[row1 + p], d2 = dy[row2 + p], d3 = dy[row3 + p];
        a0 += d0 * a, a1 += d1 * a, a2 += d2 * a, a3 += d3 * a;
        b0 += d0 * b, b1 += d1 * b, b2 += d2 * b, b3 += d3 * b;
      }
      sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3, sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
      for (let q = 0; q < 4 && o + q < outputs; q++) {
        dw[(o + q) * taps.length + t] += sums[q];
        if (t + 1 < taps.length) dw[(o + q) * taps.length + t + 1] += sums[4 + q];
      }
    }
  }
}

/**
 * Convolution, with x̃ the image x and zeros around it:
 *
 *   y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] · x̃[n, c, s·i + u, s·j + v]
 *
 *   dw[o,c,u,v] = Σ_{n,i,j} dy[n,o,i,j] · x̃[n, c, s·i + u, s·j + v]        db[o] = Σ_{n,i,j} dy[n,o,i,j]
 *
 * dx is a convolution, too: of dy, with s − 1 zeros between its pixels, and kernels turned by 180°.
 */
class Conv2d extends Layer {
  constructor(node, tensors) {
    super(node, tensors);
    const [, height, width] = node.input_shape, [, ...windows] = node.output_shape;
    const {kernel_size: kernel, stride, padding} = node.attributes;
    const size = [height + 2 * padding, width + 2 * padding], spread = [height + kernel - 1, width + kernel - 1];
    this.image = new BorderedImage(node.input_shape, {border: padding, step: 1}, size, kernel, stride, windows);
    const place = {border: kernel - 1 - padding, step: stride};
    this.gradientImage = new BorderedImage(node.output_shape, place, spread, kernel, 1, [height, width]);
    const [outputs, inputs] = [node.output_shape[0], node.input_shape[0]].map((count) => Math.ceil(count / 4) * 4);
    this.kernels = new Float64Array(outputs * this.image.taps.length);
    this.turnedKernels = new Float64Array(inputs * this.gradientImage.taps.length);
  }

  output(x, pass) {
    const {image, kernels, weight} = this, y = this.outputArray(pass), [outputs] = this.node.output_shape;
    const taps = image.taps.length;
    packKernels(kernels, outputs, taps, (o, t) => weight[o * taps + t]);
    for (let n = 0; n < pass.count; n++) {
      image.put(x, n);
      slide(image, kernels, this.bias, outputs, y, n * outputs * image.starts.length);
    }
    return y;
  }

  inputGradient(dy, pass) {
    const {image, gradientImage, turnedKernels, gradients} = this, dx = this.inputGradientArray(pass);
    const [inputs] = this.node.input_shape, [outputs] = this.node.output_shape, windows = image.starts.length;
    this.turnKernels(pass.bug === "flipped kernel");
    gradients.weight.fill(0);
    for (let n = 0; n < pass.count; n++) {
      image.put(this.x, n);
      addKernelGradient(image, dy, n * outputs * windows, outputs, gradients.weight);
      gradientImage.put(dy, n);
      slide(gradientImage, turnedKernels, undefined, inputs, dx, n * inputs * gradientImage.starts.length);
    }
    if (gradients.bias) addChannels(dy, outputs, windows, gradients.bias.fill(0));
    return dx;
  }

  /** Pack the kernels for dx: inputs and outputs exchanged, and each kernel turned by 180° (a bug forgets that). */
  turnKernels(forgotten) {
    const {weight, gradientImage} = this, [inputs] = this.node.input_shape;
    const area = this.node.attributes.kernel_size ** 2;
    packKernels(this.turnedKernels, inputs, gradientImage.taps.length, (c, t) => {
      const o = Math.floor(t / area), tap = t % area;
      return weight[(o * inputs + c) * area + (forgotten ? tap : area - 1 - tap)];
    });
  }
}

/** Add to totals[c] all values (N, channels, pixels) of channel c. */
function addChannels(values, channels, pixels, totals) {
  for (let begin = 0, c = 0; begin < values.length; begin += pixels, c = (c + 1) % channels) {
    let sum = 0;
    for (let i = begin; i < begin + pixels; i++) sum += values[i];
    totals[c] += sum;
  }
}

/**
 * Batch normalization: each channel gets mean 0 and variance 1 over its M values, then a scale γ and a shift β.
 *
 *   μ = Σ x / M        σ² = Σ (x − μ)² / M        x̂ = (x − μ) / √(σ² + eps)        y = γ·x̂ + β
 *
 *   dβ = Σ dy        dγ = Σ dy·x̂        dx = γ / √(σ² + eps) · (dy − dβ/M − x̂·dγ/M)
 *
 * In evaluation mode μ and σ² are the running statistics, which do not depend on x: dx = γ / √(σ² + eps) · dy.
 */
class BatchNorm2d extends Layer {
  output(x, pass) {
    const y = this.outputArray(pass), [channels, ...size] = this.node.output_shape, pixels = product(size);
    this.training = pass.training;
    this.mean = this.array("mean", channels);
    this.scale = this.array("scale", channels); // 1 / √(σ² + eps)
    const variance = pass.training ? this.batchStatistics(x, pass, pixels) : this.running_var;
    if (!pass.training) this.mean.set(this.running_mean);
    for (let c = 0; c < channels; c++) this.scale[c] = 1 / Math.sqrt(variance[c] + this.node.attributes.eps);
    for (let begin = 0, c = 0; begin < x.length; begin += pixels, c = (c + 1) % channels) {
      const mean = this.mean[c], scale = this.scale[c], gamma = this.weight[c], beta = this.bias[c];
      for (let i = begin; i < begin + pixels; i++) y[i] = gamma * ((x[i] - mean) * scale) + beta;
    }
    return y;
  }

  /** Set the mean, return σ², and let the running statistics follow, with the unbiased Σ (x − μ)² / (M − 1). */
  batchStatistics(x, pass, pixels) {
    const {mean, running_mean, running_var, num_batches_tracked} = this, channels = mean.length;
    const M = pass.count * pixels, variance = this.array("variance", channels).fill(0);
    if (M < 2) throw new Error(`input of ${this.name} must have at least 2 values per channel. Got 1. Use more images.`);
    addChannels(x, channels, pixels, mean.fill(0));
    for (let c = 0; c < channels; c++) mean[c] /= M;
    for (let begin = 0, c = 0; begin < x.length; begin += pixels, c = (c + 1) % channels) {
      let sum = 0;
      for (let i = begin; i < begin + pixels; i++) sum += (x[i] - mean[c]) ** 2;
      variance[c] += sum;
    }
    for (let c = 0; c < channels; c++) variance[c] /= M;
    if (pass.updateStatistics) {
      num_batches_tracked[0] += 1;
      const momentum = this.node.attributes.momentum ?? 1 / num_batches_tracked[0];
      for (let c = 0; c < channels; c++) {
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
        running_var[c] = (1 - momentum) * running_var[c] + momentum * variance[c] * (M / (M - 1));
      }
    }
    return variance;
  }

  inputGradient(dy, pass) {
    const {x, mean, scale, weight, gradients} = this, dx = this.inputGradientArray(pass), channels = mean.length;
    const pixels = product(this.node.output_shape.slice(1)), M = pass.count * pixels;
    addChannels(dy, channels, pixels, gradients.bias.fill(0));
    gradients.weight.fill(0);
    for (let begin = 0, c = 0; begin < x.length; begin += pixels, c = (c + 1) % channels) {
      let sum = 0;
      for (let i = begin; i < begin + pixels; i++) sum += dy[i] * ((x[i] - mean[c]) * scale[c]);
      gradients.weight[c] += sum;
    }
    for (let begin = 0, c = 0; begin < x.length; begin += pixels, c = (c + 1) % channels) {
      const meanTerm = this.training && pass.bug !== "missing mean term" ? gradients.bias[c] / M : 0;
      const varianceTerm = this.training ? gradients.weight[c] / M : 0;
      for (let i = begin; i < begin + pixels; i++) {
        dx[i] = weight[c] * scale[c] * (dy[i] - meanTerm - (x[i] - mean[c]) * scale[c] * varianceTerm);
      }
    }
    return dx;
  }
}

/** Rectifier: y = max(x, 0), dx = dy where x > 0, else 0. NaN stays NaN. */
class ReLU extends Layer {
  output(x, pass) {
    const y = this.outputArray(pass);
    for (let i = 0; i < x.length; i++) y[i] = x[i] <= 0 ? 0 : x[i];
    return y;
  }

  inputGradient(dy, pass) {
    const {x} = this, dx = this.inputGradientArray(pass);
    if (pass.bug === "forgotten mask") dx.set(dy);
    else for (let i = 0; i < x.length; i++) dx[i] = x[i] <= 0 ? 0 : dy[i];
    return dx;
  }
}

/** The windows of a pooling layer: for each window, the indices of its pixels in the channel, those inside alone. */
function poolWindows({input_shape: [, height, width], output_shape: [, rows, columns], attributes}) {
  const {kernel_size: kernel, stride, padding} = attributes, windows = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const inside = [];
      for (let u = 0; u < kernel; u++) {
        for (let v = 0; v < kernel; v++) {
          const h = i * stride + u - padding, w = j * stride + v - padding;
          if (h >= 0 && h < height && w >= 0 && w < width) inside.push(h * width + w);
        }
      }
      windows.push(Int32Array.from(inside));
    }
  }
  return windows;
}

/**
 * Max pooling: y is the largest value of each window, the first of them if several are equal; NaN is the largest.
 * dy goes to that pixel.
 */
class MaxPool2d extends Layer {
  constructor(node, tensors) {
    super(node, tensors);
    this.windows = poolWindows(node);
  }

  output(x, pass) {
    const {windows} = this, y = this.outputArray(pass), pixels = product(this.node.input_shape.slice(1));
    this.winners = this.array("winners", y.length); // the index in x of each maximum
    for (let begin = 0, out = 0; begin < x.length; begin += pixels) {
      for (const window of windows) {
        let winner = begin + window[0];
        for (let t = 1; t < window.length && x[winner] === x[winner]; t++) { // NaN is not equal to itself
          const value = x[begin + window[t]];
          if (!(value <= x[winner])) winner = begin + window[t];
        }
        this.winners[out] = winner;
        y[out++] = x[winner];
      }
    }
    return y;
  }

  inputGradient(dy, pass) {
    const dx = this.inputGradientArray(pass).fill(0);
    for (let i = 0; i < dy.length; i++) dx[this.winners[i]] += dy[i];
    return dx;
  }
}

/** Average pooling: y is the sum of each window / k², padding counted as 0. dx = Σ over the windows of dy / k². */
class AvgPool2d extends Layer {
  constructor(node, tensors) {
    super(node, tensors);
    this.windows = poolWindows(node);
    this.area = node.attributes.kernel_size ** 2;
  }

  output(x, pass) {
    const y = this.outputArray(pass), pixels = product(this.node.input_shape.slice(1));
    for (let begin = 0, out = 0; begin < x.length; begin += pixels) {
      for (const window of this.windows) {
        let sum = 0;
        for (const place of window) sum += x[begin + place];
        y[out++] = sum / this.area;
      }
    }
    return y;
  }

  inputGradient(dy, pass) {
    const dx = this.inputGradientArray(pass).fill(0), pixels = product(this.node.input_shape.slice(1));
    for (let begin = 0, out = 0; begin < dx.length; begin += pixels) {
      for (const window of this.windows) {
        const part = dy[out++] / this.area;
        for (const place of window) dx[begin + place] += part;
      }
    }
    return dx;
  }
}

/** The mean of each whole channel: y = Σ x / (H·W), dx = dy / (H·W) at every pixel. */
class AdaptiveAvgPool2d extends AvgPool2d {
  constructor(node, tensors) {
    super({...node, attributes: {kernel_size: 0, stride: 1, padding: 0}}, tensors);
    this.area = product(node.input_shape.slice(1));
    this.windows = [Int32Array.from({length: this.area}, (_, i) => i)];
  }
}

/** y = x, as a copy; also the layer that reads an image's channels, rows and columns as one row of numbers. */
class Identity extends Layer {
  output(x, pass) {
    const y = this.outputArray(pass);
    y.set(x);
    return y;
  }

  inputGradient(dy) {
    return dy;
  }
}

/** A shortcut without parameters: every s-th pixel, and new channels of zeros, half of them before those of x. */
class ZeroPadShortcut extends Layer {
  constructor(node, tensors) {
    super(node, tensors);
    const [channels, height, width] = node.input_shape, [outputs, rows, columns] = node.output_shape;
    const {stride} = node.attributes, before = Math.floor((outputs - channels) / 2);
    this.pairs = []; // [index of a pixel in an image of x, its index in y]
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          this.pairs.push([(c * height + i * stride) * width + j * stride, ((before + c) * rows + i) * columns + j]);
        }
      }
    }
  }

  output(x, pass) {
    const y = this.outputArray(pass).fill(0), sizeOfX = x.length / pass.count, sizeOfY = y.length / pass.count;
    for (let n = 0; n < pass.count; n++) {
      for (const [from, to] of this.pairs) y[n * sizeOfY + to] = x[n * sizeOfX + from];
    }
    return y;
  }

  inputGradient(dy, pass) {
    const dx = this.inputGradientArray(pass).fill(0);
    const sizeOfX = dx.length / pass.count, sizeOfY = dy.length / pass.count;
    for (let n = 0; n < pass.count; n++) {
      for (const [from, to] of this.pairs) dx[n * sizeOfX + from] = dy[n * sizeOfY + to];
    }
    return dx;
  }
}

/** Dropout: in training m = [r ≥ p] / (1 − p), with r random in [0, 1), y = m·x and dx = m·dy; else y = x. */
class Dropout extends Layer {
  seed = 0;

  output(x, pass) {
    const y = this.outputArray(pass), mask = this.array("mask", x.length), {p} = this.node.attributes;
    for (let i = 0; i < x.length; i++) {
      mask[i] = !pass.training ? 1 : this.random() >= p ? 1 / (1 - p) : 0;
      y[i] = mask[i] * x[i];
    }
    return y;
  }

  /** Return a random number in [0, 1): mulberry32, a generator of 32 bits that continues from `seed`. */
  random() {
    this.seed = (this.seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }

  inputGradient(dy, pass) {
    const dx = this.inputGradientArray(pass), {mask} = this.memory;
    for (let i = 0; i < dy.length; i++) dx[i] = mask[i] * dy[i];
    return dx;
  }
}

/** A fully connected layer: y[n,k] = b[k] + Σ_i w[k,i]·x[n,i];  dx = dy w,  dw[k,i] = Σ_n dy[n,k]·x[n,i],  db = Σ_n dy. */
class Linear extends Layer {
  output(x, pass) {
    const {weight, bias} = this, y = this.outputArray(pass), [features] = this.node.input_shape, classes = bias.length;
    for (let n = 0; n < pass.count; n++) {
      for (let k = 0; k < classes; k++) {
        let sum = 0;
        for (let i = 0; i < features; i++) sum += weight[k * features + i] * x[n * features + i];
        y[n * classes + k] = sum + bias[k];
      }
    }
    return y;
  }

  inputGradient(dy, pass) {
    const {x, weight, gradients} = this, dx = this.inputGradientArray(pass).fill(0);
    const [features] = this.node.input_shape, classes = weight.length / features, dw = gradients.weight.fill(0);
    for (let n = 0; n < pass.count; n++) {
      for (let k = 0; k < classes; k++) {
        const d = dy[n * classes + k];
        for (let i = 0; i < features; i++) {
          dx[n * features + i] += d * weight[k * features + i];
          dw[k * features + i] += d * x[n * features + i];
        }
      }
    }
    addChannels(dy, classes, 1, gradients.bias.fill(0));
    return dx;
  }
}
