// The layers of a residual network, forward and backward. All numbers are float64, in the order (image, channel, row,
// column). x is a layer's input, y its output; dy, dx, dw, ... are the gradients of the loss with respect to y, x, w.

/** Mistakes that can be planted in the backward pass, by key, and the kind of layer that has them; all have a loss. */
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
  "missing mean of the loss": {
    kind: "Loss",
    title: "Missing mean of the loss",
    sentence: "The loss is a mean over N images, but its dz is not divided by N: every gradient is N times as large.",
  },
  "forgotten mask": {
    kind: "ReLU",
    title: "Forgotten mask",
    sentence: "ReLU hands back dy everywhere, and not only where x > 0.",
  },
};

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);

/** `forward` and `backward` do what all layers have in common; `output` and `inputGradient` are a layer's own. */
class Layer {
  /**
   * @param {Object} node the layer's node in the graph
   * @param {Object} network has the tensors and gradients by key; those of the layer become this.weight, this.bias, ...
   */
  constructor(node, {tensors, gradients}) {
    Object.assign(this, {node, name: node.name, gradients: {}, memory: {}});
    const lastPart = (key) => key.slice(key.lastIndexOf(".") + 1);
    for (const key of Object.keys({...node.parameters, ...node.buffers})) this[lastPart(key)] = tensors[key].data;
    for (const key of Object.keys(node.parameters)) this.gradients[lastPart(key)] = gradients[key];
  }

  /** Return y of x, with muted channels set to 0; keep both. Before the first change, y is that of the last pass. */
  forward(x, pass) {
    Object.assign(this, {x, count: pass.count});
    pass.computes ||= pass.changed.has(this.name);
    if (pass.computes || this.body) this.y = this.withoutMuted(this.output(x, pass), pass); // in a body may be a change
    pass.keepOutput(this.name, this.y, this.node.output_shape);
    return this.y;
  }

  /** Return dx, and fill the gradients of the parameters. Muted channels hand back nothing. */
  backward(dy, pass) {
    pass.outputGradients[this.name] = this.withoutMuted(dy, pass);
    return this.inputGradient(pass.outputGradients[this.name], pass);
  }

  /** Return values of y's shape, copied with 0 in muted channels if there are any: other layers use them, too. */
  withoutMuted(values, {edits}) {
    const muted = edits.muted.get(this.name);
    if (!muted) return values;
    const copy = values.slice();
    this.eachChannel((channel, begin, end) => muted.has(channel) && copy.fill(0, begin, end));
    return copy;
  }

  /** Call `work(channel, begin, end)` with the place in y of each channel of each image. */
  eachChannel(work) {
    const [channels, ...size] = this.node.output_shape, pixels = product(size);
    for (let i = 0; i < this.count * channels; i++) work(i % channels, i * pixels, (i + 1) * pixels);
  }

  /** Return `length` numbers of memory under a name: the same memory in every pass, as the last one left it. */
  array(name, length) {
    if (!(this.memory[name]?.length >= length)) this.memory[name] = new Float64Array(length);
    return this.memory[name].subarray(0, length);
  }

  outputArray() {
    return this.array("y", this.count * product(this.node.output_shape));
  }

  inputGradientArray() {
    return this.array("dx", this.count * product(this.node.input_shape));
  }

  /** Return the numbers of image n among those of all images. */
  imageOf(values, n) {
    const size = values.length / this.count;
    return values.subarray(n * size, (n + 1) * size);
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
  constructor(node, network) {
    super(node, network);
    const {input_shape, output_shape, attributes: {kernel_size: kernel, stride, padding}} = node;
    const [, ...size] = input_shape, [, ...windows] = output_shape, longer = (by) => size.map((length) => length + by);
    const place = {border: padding, step: 1}, spread = {border: kernel - 1 - padding, step: stride};
    this.image = new BorderedImage(input_shape, place, longer(2 * padding), {kernel, stride, windows});
    this.spread = new BorderedImage(output_shape, spread, longer(kernel - 1), {kernel, stride: 1, windows: size});
  }

  output(x) {
    const {image, weight, bias} = this, y = this.outputArray().fill(0);
    if (bias) this.eachChannel((o, begin, end) => y.fill(bias[o], begin, end));
    for (let n = 0; n < this.count; n++) {
      image.put(this.imageOf(x, n));
      slide(image.pixels, image.starts, image.taps, weight, this.imageOf(y, n));
    }
    return y;
  }

  inputGradient(dy, {bug, unwanted}) {
    const {x, image, spread, gradients} = this, dx = this.inputGradientArray().fill(0);
    const turned = this.turnedKernels(bug === "flipped kernel");
    for (let n = 0; n < this.count; n++) {
      const part = this.imageOf(dy, n);
      image.put(this.imageOf(x, n));
      slide(image.pixels, image.taps, image.starts, part, gradients.weight);
      if (x === unwanted) continue;
      spread.put(part);
      slide(spread.pixels, spread.starts, spread.taps, turned, this.imageOf(dx, n));
    }
    if (gradients.bias) this.eachChannel((o, begin, end) => { gradients.bias[o] += sum(dy, begin, end); });
    return dx;
  }

  /** Return the kernels for dx (inputs, outputs, k, k): each turned by 180°, which a bug forgets. */
  turnedKernels(forgotten) {
    const {weight, node: {input_shape: [inputs], output_shape: [outputs]}} = this;
    const turned = this.array("turned", weight.length), area = weight.length / (inputs * outputs);
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

/** Return the sum of values[begin], ..., values[end − 1]. */
function sum(values, begin, end) {
  let total = 0;
  for (let i = begin; i < end; i++) total += values[i];
  return total;
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
    const {weight, bias, node} = this, y = this.outputArray();
    this.training = pass.training;
    const {mean, variance} = pass.training
      ? this.batchStatistics(x, pass)
      : {mean: this.running_mean, variance: this.running_var};
    const scale = variance.map((value) => 1 / Math.sqrt(value + node.attributes.eps));
    this.normalized = this.array("normalized", x.length); // x̂
    this.eachChannel((c, begin, end) => {
      const {normalized} = this, m = mean[c], s = scale[c], gamma = weight[c], beta = bias[c];
      for (let i = begin; i < end; i++) y[i] = gamma * (normalized[i] = (x[i] - m) * s) + beta;
    });
    this.scale = scale;
    return y;
  }

  /** Return μ and σ², and let the running statistics follow, with the unbiased variance Σ (x − μ)² / (M − 1). */
  batchStatistics(x, {updateStatistics}) {
    const {running_mean, running_var, num_batches_tracked, node} = this, channels = running_mean.length;
    const mean = new Float64Array(channels), variance = new Float64Array(channels), M = x.length / channels;
    if (M < 2) throw new Error(`input of ${this.name} must have at least 2 values per channel. Got 1. Use more images.`);
    this.eachChannel((c, begin, end) => { mean[c] += sum(x, begin, end) / M; });
    this.eachChannel((c, begin, end) => {
      const m = mean[c];
      let squares = 0;
      for (let i = begin; i < end; i++) squares += (x[i] - m) * (x[i] - m);
      variance[c] += squares / M;
    });
    if (updateStatistics) {
      num_batches_tracked[0] += 1;
      const momentum = node.attributes.momentum ?? 1 / num_batches_tracked[0];
      for (let c = 0; c < channels; c++) {
        running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
        running_var[c] = (1 - momentum) * running_var[c] + momentum * variance[c] * (M / (M - 1));
      }
    }
    return {mean, variance};
  }

  inputGradient(dy, {bug}) {
    const {training, normalized, scale, weight, gradients} = this, dx = this.inputGradientArray();
    const M = dy.length / weight.length;
    this.eachChannel((c, begin, end) => {
      let products = 0;
      for (let i = begin; i < end; i++) products += dy[i] * normalized[i];
      gradients.weight[c] += products;
      gradients.bias[c] += sum(dy, begin, end);
    });
    this.eachChannel((c, begin, end) => {
      const factor = weight[c] * scale[c], varianceTerm = training ? gradients.weight[c] / M : 0;
      const meanTerm = training && bug !== "missing mean term" ? gradients.bias[c] / M : 0;
      for (let i = begin; i < end; i++) dx[i] = factor * (dy[i] - meanTerm - normalized[i] * varianceTerm);
    });
    return dx;
  }
}

/** Rectifier: y = max(x, 0), dx = dy where x > 0, else 0. NaN stays NaN. */
class ReLU extends Layer {
  output(x) {
    const y = this.outputArray();
    for (let i = 0; i < x.length; i++) y[i] = x[i] <= 0 ? 0 : x[i];
    return y;
  }

  inputGradient(dy, {bug}) {
    const {x} = this, dx = this.inputGradientArray(), masks = bug !== "forgotten mask";
    for (let i = 0; i < x.length; i++) dx[i] = masks && x[i] <= 0 ? 0 : dy[i];
    return dx;
  }
}

/** Return the windows of a pooling layer: for each, the places in a channel of those of its pixels that are inside. */
function poolWindows({input_shape: [, height, width], output_shape: [, rows, columns], attributes}) {
  const {kernel_size: kernel, stride, padding} = attributes;
  return Array.from({length: rows * columns}, (_, p) => {
    const top = Math.floor(p / columns) * stride - padding, left = (p % columns) * stride - padding, places = [];
    for (let h = Math.max(top, 0); h < Math.min(top + kernel, height); h++) {
      for (let w = Math.max(left, 0); w < Math.min(left + kernel, width); w++) places.push(h * width + w);
    }
    return places;
  });
}

/** A pooling layer: `pool(work)` calls work(out, window, begin) for each y[out], the window of a channel at x[begin]. */
class Pool2d extends Layer {
  constructor(node, network) {
    super(node, network);
    this.windows = poolWindows(node);
    this.area = node.attributes.kernel_size ** 2;
  }

  pool(work) {
    const [channels, ...size] = this.node.input_shape, pixels = product(size);
    for (let channel = 0, out = 0; channel < this.count * channels; channel++) {
      for (const window of this.windows) work(out++, window, channel * pixels);
    }
  }
}

/** Max pooling: y is the largest value of each window. dy goes to that pixel, the first if several are equal. */
class MaxPool2d extends Pool2d {
  output(x) {
    const y = this.outputArray();
    this.winners = this.array("winners", y.length); // the place in x of each maximum
    this.pool((out, window, begin) => {
      let winner = begin + window[0];
      for (const place of window) {
        const isLarger = !(x[begin + place] <= x[winner]); // NaN counts as the largest; it is not equal to itself
        if (isLarger && x[winner] === x[winner]) winner = begin + place;
      }
      this.winners[out] = winner;
      y[out] = x[winner];
    });
    return y;
  }

  inputGradient(dy) {
    const dx = this.inputGradientArray().fill(0);
    for (let i = 0; i < dy.length; i++) dx[this.winners[i]] += dy[i];
    return dx;
  }
}

/** Average pooling: y = Σ / k² over each window, padding counted as 0; each of its pixels gets dy / k² back. */
class AvgPool2d extends Pool2d {
  output(x) {
    const y = this.outputArray();
    this.pool((out, window, begin) => {
      let total = 0;
      for (const place of window) total += x[begin + place];
      y[out] = total / this.area;
    });
    return y;
  }

  inputGradient(dy) {
    const dx = this.inputGradientArray().fill(0);
    this.pool((out, window, begin) => {
      for (const place of window) dx[begin + place] += dy[out] / this.area;
    });
    return dx;
  }
}

/** The mean of each whole channel: one window that covers it. */
class AdaptiveAvgPool2d extends AvgPool2d {
  constructor(node, network) {
    const {input_shape: [, height, width]} = node, kernel_size = Math.max(height, width);
    super({...node, attributes: {kernel_size, stride: 1, padding: 0}}, network);
    this.area = height * width;
  }
}

/** y = x, as a copy. Flatten is the same: a row of numbers in the order of channels, rows, columns. */
class Identity extends Layer {
  output(x) {
    const y = this.outputArray();
    y.set(x);
    return y;
  }

  inputGradient(dy) {
    return dy;
  }
}

/** A shortcut without parameters: every s-th pixel, and new channels of zeros, half of them before those of x. */
class ZeroPadShortcut extends Layer {
  constructor(node, network) {
    super(node, network);
    const {input_shape: [channels, height, width], output_shape: [outputs, rows, columns], attributes} = node;
    const before = Math.floor((outputs - channels) / 2), {stride} = attributes;
    this.places = Int32Array.from({length: product(node.output_shape)}, (_, i) => { // in x, of each pixel of y, or −1
      const c = Math.floor(i / (rows * columns)) - before, h = Math.floor(i / columns) % rows, w = i % columns;
      return c >= 0 && c < channels ? (c * height + h * stride) * width + w * stride : -1;
    });
  }

  output(x) {
    const y = this.outputArray(), {places} = this, size = product(this.node.input_shape);
    for (let i = 0; i < y.length; i++) {
      const n = Math.floor(i / places.length), place = places[i - n * places.length];
      y[i] = place < 0 ? 0 : x[n * size + place];
    }
    return y;
  }

  inputGradient(dy) {
    const dx = this.inputGradientArray().fill(0), {places} = this, size = product(this.node.input_shape);
    for (let i = 0; i < dy.length; i++) {
      const n = Math.floor(i / places.length), place = places[i - n * places.length];
      if (place >= 0) dx[n * size + place] = dy[i];
    }
    return dx;
  }
}

/** Dropout: in training m = [r ≥ p] / (1 − p), with r random in [0, 1), y = m·x and dx = m·dy; else y = x. */
class Dropout extends Layer {
  seed = 0;

  output(x, {training}) {
    const y = this.outputArray(), {p} = this.node.attributes;
    this.mask = this.array("mask", x.length);
    for (let i = 0; i < x.length; i++) {
      this.mask[i] = !training ? 1 : this.random() >= p ? 1 / (1 - p) : 0;
      y[i] = this.mask[i] * x[i];
    }
    return y;
  }

  inputGradient(dy) {
    const dx = this.inputGradientArray();
    for (let i = 0; i < dy.length; i++) dx[i] = this.mask[i] * dy[i];
    return dx;
  }

  /** Return a random number in [0, 1): mulberry32, a generator of 32 bits that goes on from `seed`. */
  random() {
    this.seed = (this.seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** A fully connected layer: y[n,k] = b[k] + Σ_i w[k,i]·x[n,i],  dx = dy w,  dw[k,i] = Σ_n dy[n,k]·x[n,i],  db = Σ_n dy. */
class Linear extends Layer {
  output(x) {
    const {weight, bias} = this, y = this.outputArray(), classes = bias.length, features = weight.length / classes;
    for (let i = 0; i < y.length; i++) {
      const row = (i % classes) * features, begin = Math.floor(i / classes) * features;
      let total = 0;
      for (let f = 0; f < features; f++) total += weight[row + f] * x[begin + f];
      y[i] = total + bias[i % classes];
    }
    return y;
  }

  inputGradient(dy) {
    const {x, weight, bias, gradients} = this, classes = bias.length, features = weight.length / classes;
    const dx = this.inputGradientArray().fill(0), dw = gradients.weight;
    for (let i = 0; i < dy.length; i++) {
      const row = (i % classes) * features, begin = Math.floor(i / classes) * features, d = dy[i];
      for (let f = 0; f < features; f++) {
        dx[begin + f] += d * weight[row + f];
        dw[row + f] += d * x[begin + f];
      }
      gradients.bias[i % classes] += d;
    }
    return dx;
  }
}
