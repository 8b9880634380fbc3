// Learning: initial weights, loss, learning rates, optimizers and the steps of a training, as glassnet's NumPy engine
// computes them in float64. Images are in the order (image, channel, row, column).

/**
 * Return the initial weights of a network: kernels and matrices He-normal, everything else 0 or 1.
 *
 * The weights of n inputs have standard deviation √(2/n) (He et al. 2015, "Delving Deep into Rectifiers", eq. 10).
 *
 * @param {Object} graph the network, as `glassnet.graph` describes it
 * @param {Float64Array} normals standard normal numbers, in the order in which Python draws them from a seed
 */
function initialState(graph, normals) {
  const state = new Network(graph).stateDict();
  const {zero_init, block} = graph.spec, lastNorm = block === "bottleneck" ? ".bn3.weight" : ".bn2.weight";
  let drawn = 0;
  for (const [key, {shape, data}] of Object.entries(state)) {
    if (shape.length > 1) {
      const deviation = Math.sqrt(2 / product(shape.slice(1)));
      for (let i = 0; i < data.length; i++) data[i] = normals[drawn++] * deviation;
    } else if (key.endsWith(".running_var") || (key.endsWith(".weight") && !(zero_init && key.endsWith(lastNorm)))) {
      data.fill(1);
    }
  }
  return state;
}

/** Return (pixel / scale − mean) / std of {shape: (N, C, H, W), data} pixels, with mean and std of the channel. */
function normalize({shape: [, channels, height, width], data}, {scale, mean, std}) {
  const normalized = new Float64Array(data.length), pixels = height * width;
  for (let begin = 0, c = 0; begin < data.length; begin += pixels, c = (c + 1) % channels) {
    for (let i = begin; i < begin + pixels; i++) normalized[i] = (data[i] / scale - mean[c]) / std[c];
  }
  return normalized;
}

/** Return the index of the largest number, the first of several; NaN counts as the largest. */
function indexOfLargest(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length && numbers[best] === numbers[best]; i++) { // NaN is not equal to itself
    if (!(numbers[i] <= numbers[best])) best = i;
  }
  return best;
}

/**
 * Return the mean cross-entropy of logits z (N, K) and its gradient, with W = Σ w[label], which is N for weights of 1:
 *
 *   L = −1/W · Σ q·log softmax(z)        q = w·((1 − ε)·onehot(label) + ε/K)        dz = (softmax(z)·Σ_k q − q) / W
 *
 * @param {{classes: number, smoothing: number, classWeights: ?Float64Array, bug: ?string}} options K, ε (Szegedy et al.
 *   2016, sec. 7) and w, null weighs all classes 1; a key of BUGS
 */
function crossEntropy(logits, labels, {classes, smoothing = 0, classWeights = null, bug = null}) {
  const probabilities = new Float64Array(logits.length), gradient = new Float64Array(logits.length);
  const weights = classWeights ?? new Float64Array(classes).fill(1), q = new Float64Array(classes);
  const weight = labels.reduce((sum, label) => sum + weights[label], 0);
  const divisor = bug === "missing mean of the loss" ? 1 : weight;
  let loss = 0, correct = 0;
  for (let n = 0; n < labels.length; n++) {
    const begin = n * classes, z = logits.subarray(begin, begin + classes), best = indexOfLargest(z);
    let sum = 0, total = 0;
    for (let k = 0; k < classes; k++) {
      sum += Math.exp(z[k] - z[best]); // less the largest logit, so that exp cannot overflow
      total += q[k] = weights[k] * (smoothing / classes + (k === labels[n] ? 1 - smoothing : 0));
    }
    for (let k = 0; k < classes; k++) {
      const logProbability = z[k] - z[best] - Math.log(sum), p = Math.exp(logProbability);
      if (q[k]) loss -= q[k] * logProbability; // where q is 0, the logarithm may be −∞
      probabilities[begin + k] = p;
      gradient[begin + k] = (p * total - q[k]) / divisor;
    }
    if (best === labels[n]) correct++;
  }
  return {loss: loss / weight, gradient, probabilities, correct, weight};
}

/** Return the weight N / (K·n_c) of each of K classes with n_c of N images; 0 for a class without images. */
function balancedWeights(labels, classes) {
  const counts = new Float64Array(classes);
  for (const label of labels) counts[label]++;
  return counts.map((count) => (count ? labels.length / (classes * count) : 0));
}

/**
 * Return the learning rate of each of `steps` steps; the recipe's `lr` is the peak.
 *
 *   constant: lr
 *   step: a tenth after half of the steps, a hundredth after three quarters (He et al. 2015)
 *   cosine: from lr to 0 along half a cosine (Loshchilov & Hutter 2017)
 *   one-cycle: up from lr/25 over 30 % of the steps, then down to lr/250,000 (Smith & Topin 2018)
 *
 * With a warm-up the first n steps have lr/(n+1), 2·lr/(n+1), ..., and the schedule extends over the others.
 */
function learningRates({lr, schedule, warmup, epochs}, steps) {
  const exact = (warmup / epochs) * steps, nearest = Math.round(exact);
  const warmupSteps = nearest - exact === 0.5 && nearest % 2 ? nearest - 1 : nearest; // Python rounds a half to even
  const left = steps - warmupSteps, top = 0.3 * left - 1; // the peak; may be below 0, or lie between two steps
  const cosine = (start, end, fraction) => end + ((start - end) / 2) * (1 + Math.cos(Math.PI * fraction));
  return Float64Array.from({length: steps}, (_, index) => {
    const step = index - warmupSteps;
    if (step < 0) return (lr * (index + 1)) / (warmupSteps + 1);
    if (schedule === "step") return lr * (step < left / 2 ? 1 : step < (left * 3) / 4 ? 0.1 : 0.01);
    if (schedule === "cosine") return cosine(lr, 0, step / left);
    if (schedule === "constant") return lr;
    return step <= top
      ? cosine(lr / 25, lr, step / Math.max(top, 1))
      : cosine(lr, lr / 250000, (step - top) / (left - 1 - top));
  });
}

/** Return the L2 norm of each parameter's gradient. */
function gradientNorms({gradients}) {
  const norm = (gradient) => Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
  return Object.fromEntries(Object.entries(gradients).map(([key, gradient]) => [key, norm(gradient)]));
}

/** SGD, Adam and AdamW, update for update as torch.optim has them; `carried[key]` is what one leaves to the next. */
class Optimizer {
  constructor(network, recipe) {
    Object.assign(this, {network, recipe, carried: {}, steps: 0});
  }

  /** Update every parameter from its gradient. */
  step(lr) {
    const {optimizer, weight_decay, weight_decay_scope, body_lr, clip_grad_norm} = this.recipe;
    this.steps++;
    if (clip_grad_norm) this.clip(clip_grad_norm);
    for (const [key, {shape, data}] of Object.entries(this.network.parameters)) {
      const decays = weight_decay_scope === "all" || shape.length > 1; // biases and BatchNorm's have one axis
      const rate = key.startsWith("fc.") ? lr : lr * body_lr;
      const carried = (this.carried[key] ??= {});
      this[optimizer](data, this.network.gradients[key], carried, rate, decays ? weight_decay : 0);
    }
  }

  /** g ← g + decay·w      v ← μ·v + g (at first v ← g)      w ← w − lr·v, or with Nesterov w ← w − lr·(g + μ·v) */
  sgd(w, gradient, carried, lr, decay) {
    const {momentum, nesterov} = this.recipe, v = (carried.momentum ??= new Float64Array(w.length));
    for (let i = 0; i < w.length; i++) {
      const g = gradient[i] + decay * w[i];
      v[i] = momentum * v[i] + g;
      w[i] -= lr * (nesterov ? g + momentum * v[i] : v[i]);
    }
  }

  /**
   * g ← g + decay·w      m ← m + (1 − β₁)·(g − m)      v ← β₂·v + (1 − β₂)·g²      (Kingma & Ba 2015)
   * w ← w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + 1e-8)
   */
  adam(w, gradient, carried, lr, decay) {
    const beta1 = 0.9, beta2 = 0.999, t = this.steps;
    const rate = lr / (1 - beta1 ** t), correction = Math.sqrt(1 - beta2 ** t);
    const m = (carried.mean ??= new Float64Array(w.length)), v = (carried.square ??= new Float64Array(w.length));
    for (let i = 0; i < w.length; i++) {
      const g = gradient[i] + decay * w[i];
      m[i] += (1 - beta1) * (g - m[i]);
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      w[i] -= (rate * m[i]) / (Math.sqrt(v[i]) / correction + 1e-8);
    }
  }

  /** w ← (1 − lr·decay)·w, then Adam without decay (Loshchilov & Hutter 2019) */
  adamw(w, gradient, carried, lr, decay) {
    for (let i = 0; i < w.length; i++) w[i] *= 1 - lr * decay;
    this.adam(w, gradient, carried, lr, 0);
  }

  /** Scale the whole gradient down to at most this L2 norm. */
  clip(maxNorm) {
    const scale = maxNorm / (Math.hypot(...Object.values(gradientNorms(this.network))) + 1e-6);
    if (scale >= 1) return;
    for (const gradient of Object.values(this.network.gradients)) {
      for (let i = 0; i < gradient.length; i++) gradient[i] *= scale;
    }
  }
}

/**
 * The moving average a of parameters and running statistics w (Polyak & Juditsky 1992). At first a = w; after step t
 *
 *   a ← a + (1 − d)·(w − a)        d = min(decay, (1 + t)/(10 + t))
 */
class WeightAverage {
  constructor({tensors}, decay) {
    const averaged = Object.keys(tensors).filter((key) => !key.endsWith("num_batches_tracked"));
    this.pairs = averaged.map((key) => ({data: tensors[key].data, average: tensors[key].data.slice()}));
    Object.assign(this, {decay, steps: 0});
  }

  update() {
    this.steps++;
    const rate = 1 - Math.min(this.decay, (1 + this.steps) / (10 + this.steps));
    for (const {data, average} of this.pairs) {
      for (let i = 0; i < data.length; i++) average[i] += rate * (data[i] - average[i]);
    }
  }

  /** Exchange the averages with the network's own values; a second time gives them back. */
  exchange() {
    for (const pair of this.pairs) {
      const own = pair.data.slice();
      pair.data.set(pair.average);
      pair.average = own;
    }
  }
}

/** A training of a network, one step at a time. */
class Trainer {
  /**
   * @param {Network} network
   * @param {Object} recipe glassnet's recipe; `change` may replace it between two steps
   * @param {{images: Float64Array, labels: Int32Array}} data normalized (N, C, H, W), and labels (N,)
   * @param {?TypedArray} orders (epochs, N): in which order each epoch takes the images; null: as they are
   */
  constructor(network, recipe, {images, labels}, orders = null, edits = NO_EDITS) {
    Object.assign(this, {network, images, labels, orders, edits, bug: null, epoch: 1, seen: 0});
    this.classes = network.graph.spec.classes;
    this.classWeights = recipe.class_weights === "balanced" ? balancedWeights(labels, this.classes) : null;
    this.optimizer = new Optimizer(network, recipe);
    this.average = recipe.ema ? new WeightAverage(network, recipe.ema) : null;
    this.sums = {loss: 0, weight: 0, correct: 0}; // of this epoch
    this.change(recipe);
  }

  /** Go on with another recipe; the optimizer keeps what it carries. */
  change(recipe) {
    this.recipe = this.optimizer.recipe = recipe;
    const full = Math.floor(this.labels.length / recipe.batch_size), left = this.labels.length % recipe.batch_size;
    this.stepsPerEpoch = full + (left > 1 || full === 0 ? 1 : 0); // one image alone joins the last batch
    this.rates = learningRates(recipe, recipe.epochs * this.stepsPerEpoch);
  }

  get isDone() {
    return this.epoch > this.recipe.epochs;
  }

  /** Return the next batch. After the epochs whose orders there are, they begin anew. */
  nextBatch() {
    const total = this.labels.length, size = this.images.length / total, begin = this.seen;
    const end = begin + this.recipe.batch_size;
    this.seen = total - end <= 1 ? total : end;
    const first = this.orders ? ((this.epoch - 1) * total) % this.orders.length : 0;
    const indexAt = (place) => (this.orders ? this.orders[first + place] : place);
    const indices = Array.from({length: this.seen - begin}, (_, i) => indexAt(begin + i));
    const images = new Float64Array(indices.length * size);
    indices.forEach((index, n) => images.set(this.images.subarray(index * size, (index + 1) * size), n * size));
    return {images, labels: indices.map((index) => this.labels[index])};
  }

  /** Take one step. Return its numbers; after the last one of an epoch, `record` is its line of metrics.jsonl. */
  step() {
    const {network, recipe, epoch, stepsPerEpoch, classes, classWeights, edits, bug, sums} = this;
    const {images, labels} = this.nextBatch();
    const step = Math.min(Math.ceil(this.seen / recipe.batch_size), stepsPerEpoch); // of this epoch, from 1
    const lr = this.rates[(epoch - 1) * stepsPerEpoch + step - 1];
    const logits = network.forward(images, labels.length, {training: true, edits});
    const smoothing = recipe.label_smoothing;
    const {loss, gradient, correct, weight} = crossEntropy(logits, labels, {classes, smoothing, classWeights, bug});
    network.backward(gradient, {bug, inputGradient: false});
    this.optimizer.step(lr);
    this.average?.update();
    sums.loss += loss * weight;
    sums.weight += weight;
    sums.correct += correct;
    const norms = gradientNorms(network), record = this.seen === this.labels.length ? this.endEpoch(lr, norms) : null;
    return {epoch, step, stepsPerEpoch, lr, size: labels.length, loss, correct, gradientNorms: norms, record};
  }

  endEpoch(lr, gradient_norms) {
    const {epoch, sums: {loss, weight, correct}} = this;
    Object.assign(this, {epoch: epoch + 1, seen: 0, sums: {loss: 0, weight: 0, correct: 0}});
    return {epoch, loss: loss / weight, train_accuracy: correct / this.labels.length, lr, gradient_norms};
  }

  /** Return what a function returns while the network has its averaged weights, if the recipe averages them. */
  withAverage(compute) {
    this.average?.exchange();
    try {
      return compute();
    } finally {
      this.average?.exchange();
    }
  }
}
