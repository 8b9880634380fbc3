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
 * A tap is a place in the window and a channel. Window p has `pixels[starts[p] + taps[t]]` under tap t.
 */
class BorderedImage {
  /**
   * @param {number[]} shape (channels, height, width) of the image
   * @param {{border: number, step: number}} place zeros before the first pixel, and the distance of two pixels
   * @param {number[]} size (height, width) with all zeros
   * @param {{kernel: number, stride: number, windows: number[]}} window its k, how far it moves, and (rows, columns)
   */
  constructor([channels, height, width], {border, step}, size, {kernel, stride, windows: [rows, columns]}) {
    const index = (c, h, w) => (c * size[0] + h) * size[1] + w;
    const list = (C, H, W, at) =>
      Int32Array.from({length: C * H * W}, (_, i) => at(Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W));
    this.pixels = new Float64Array(channels * size[0] * size[1]);
    this.places = list(channels, height, width, (c, h, w) => index(c, border + h * step, border + w * step));
    this.starts = list(1, rows, columns, (_, i, j) => index(0, i * stride, j * stride));
    this.taps = list(channels, kernel, kernel, index);
  }

  /** Put an image (channels, height, width) between the zeros. */
  put(image) {
    const {pixels, places} = this;
    for (let i = 0; i < places.length; i++) pixels[places[i]] = image[i];
  }
}

let panelMemory = new Float64Array(0);
const sums = new Float64Array(8);

/**
 * Slide kernels over an image: y[o, p] += Σ_t w[o, t] · pixels[starts[p] + taps[t]].
 *
 * This is where the time goes. The pixels of four windows are gathered in a small panel, which all kernels use. With
 * two kernels at a time, each number that is read is used more than once, and eight sums stay in registers.
 * `| 0` says that an index is an integer of 32 bits, which spares a check.
 *
 * @param {Float64Array} pixels
 * @param {Int32Array} starts (windows,)
 * @param {Int32Array} taps (taps,)
 * @param {Float64Array} kernels w (outputs, taps)
 * @param {Float64Array} y (outputs, windows)
 */
function slide(pixels, starts, taps, kernels, y) {
  const windows = starts.length, last = windows - 1, T = taps.length, outputs = kernels.length / T;
  if (panelMemory.length < 4 * T) panelMemory = new Float64Array(4 * T);
  const panel = panelMemory; // (taps, 4)
  for (let p = 0; p < windows; p += 4) {
    const start0 = starts[p], start1 = starts[Math.min(p + 1, last)]; // after the last window, the last one again
    const start2 = starts[Math.min(p + 2, last)], start3 = starts[Math.min(p + 3, last)];
    for (let t = 0, i = 0; t < T; t++, i = (i + 4) | 0) {
      const tap = taps[t];
      panel[i] = pixels[(start0 + tap) | 0], panel[(i + 1) | 0] = pixels[(start1 + tap) | 0];
      panel[(i + 2) | 0] = pixels[(start2 + tap) | 0], panel[(i + 3) | 0] = pixels[(start3 + tap) | 0];
    }
    for (let o = 0; o < outputs; o += 2) {
      const row = o * T, nextRow = o + 1 < outputs ? row + T : row;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let t = 0, i = 0; t < T; t++, i = (i + 4) | 0) {
        const x0 = panel[i], x1 = panel[(i + 1) | 0], x2 = panel[(i + 2) | 0], x3 = panel[(i + 3) | 0];
        const a = kernels[(row + t) | 0], b = kernels[(nextRow + t) | 0];
        a0 += a * x0, a1 += a * x1, a2 += a * x2, a3 += a * x3;
        b0 += b * x0, b1 += b * x1, b2 += b * x2, b3 += b * x3;
      }
      sums[0] = a0, sums[1] = a1, sums[2] = a2, sums[3] = a3, sums[4] = b0, sums[5] = b1, sums[6] = b2, sums[7] = b3;
      for (let q = 0; q < 2 && o + q < outputs; q++) {
        for (let r = 0; r < 4 && p + r < windows; r++) y[(o + q) * windows + p + r] += sums[4 * q + r];
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
 * In dw, windows and taps have changed places: dy slides over x̃ as kernels did. dx is a convolution, too: kernels
 * turned by 180° slide over dy with zeros around it and s − 1 zeros between its pixels.
 */
class Conv2d extends Layer {
  constructor(node, tensors) {
    super(node, tensors);
    const {input_shape: shape, output_shape: outputShape, attributes: {kernel_size: kernel, stride, padding}} = node;
    const [, height, width] = shape, padded = [height + 2 * padding, width + 2 * padding];
    const place = {border: padding, step: 1}, window = {kernel, stride, windows: outputShape.slice(1)};
    this.image = new BorderedImage(shape, place, padded, window);
    const spread = {border: kernel - 1 - padding, step: stride}, full = [height + kernel - 1, width + kernel - 1];
    this.gradientImage = new BorderedImage(outputShape, spread, full, {kernel, stride: 1, windows: [height, width]});
  }

  output(x, pass) {
    const y = this.outputArray(pass), {image, weight, bias} = this, pixels = image.starts.length;
    for (let n = 0; n < pass.count; n++) {
      const part = imageOf(y, n, pass);
      for (let o = 0; o * pixels < part.length; o++) part.fill(bias ? bias[o] : 0, o * pixels, (o + 1) * pixels);
      image.put(imageOf(x, n, pass));
      slide(image.pixels, image.starts, image.taps, weight, part);
    }
    return y;
  }

  inputGradient(dy, pass) {
    const {image, gradientImage: spread, gradients} = this, dx = this.inputGradientArray(pass).fill(0);
    const turned = this.turnedKernels(pass.bug === "flipped kernel"), wanted = this.x !== pass.unwanted;
    for (let n = 0; n < pass.count; n++) {
      const part = imageOf(dy, n, pass);
      image.put(imageOf(this.x, n, pass));
      slide(image.pixels, image.taps, image.starts, part, gradients.weight);
      if (!wanted) continue;
      spread.put(part);
      slide(spread.pixels, spread.starts, spread.taps, turned, imageOf(dx, n, pass));
    }
    if (gradients.bias) addChannels(dy, this.node.output_shape[0], image.starts.length, gradients.bias);
    return dx;
  }

  /** Return the kernels for dx (inputs, outputs, k, k): each turned by 180°, which a bug forgets. */
  turnedKernels(forgotten) {
    const {weight, node: {input_shape: [inputs], output_shape: [outputs], attributes: {kernel_size: kernel}}} = this;
    const turned = this.array("turned", weight.length), area = kernel * kernel;
    for (let o = 0; o < outputs; o++) {
      for (let c = 0; c < inputs; c++) {
        for (let t = 0; t < area; t++) {
          turned[(c * outputs + o) * area + t] = weight[(o * inputs + c) * area + (forgotten ? t : area - 1 - t)];
        }
      }
    }
    return turned;
  }
}

/** Return the numbers of image n among those of all images of a pass. */
function imageOf(values, n, {count}) {
  const size = values.length / count;
  return values.subarray(n * size, (n + 1) * size);
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
    addChannels(dy, channels, pixels, gradients.bias);
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
    const [features] = this.node.input_shape, classes = weight.length / features, dw = gradients.weight;
    for (let n = 0; n < pass.count; n++) {
      for (let k = 0; k < classes; k++) {
        const d = dy[n * classes + k];
        for (let i = 0; i < features; i++) {
          dx[n * features + i] += d * weight[k * features + i];
          dw[k * features + i] += d * x[n * features + i];
        }
      }
    }
    addChannels(dy, classes, 1, gradients.bias);
    return dx;
  }
}
