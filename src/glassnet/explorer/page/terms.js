"use strict";
// The terms of every number: which numbers it was computed from, and which numbers were computed from it.

/**
 * Each kind of layer computes numbers y = Σ factor · x + constant from numbers x of its input. `reads` are the terms of
 * one y, {index of x, factor}; `readers` are the terms of which one x is a part, {index of y, factor}. The same factors
 * carry gradients backward: dx = Σ factor · dy.
 */
const KINDS = {
  Input: {
    title: "normalized image", equation: "x = (pixel / scale − mean) / deviation",
    sentence: "The pixel, less the mean and divided by the standard deviation of the training images.",
  },
  Conv2d: {
    title: "convolution", equation: "y = Σ window · kernel + bias",
    sentence: "A window of the input times a kernel, number by number; all products are added, and the bias if any.",
    reads: (step, index) => windowReads(step, index, range(step.node.attributes.in_channels)),
    readers: (step, index) => windowReaders(step, index, range(step.node.attributes.out_channels)),
  },
  BatchNorm2d: {
    title: "batch normalization", equation: "y = weight · (x − mean) / √(variance + ε) + bias",
    sentence: "The channel's mean is subtracted, its deviation divides; a weight and a bias, both learned, follow.",
    reads: (step, index) => [{index, factor: normalizationOf(step, index).factor}],
  },
  ReLU: {
    title: "ReLU", equation: "y = max(0, x)",
    sentence: "A negative number becomes 0; any other number stays what it is.",
    reads: (step, index) => [{index, factor: tensor(step.inputs[0])[index] > 0 ? 1 : 0}],
  },
  Sum: {
    title: "addition", equation: "y = x + F(x)",
    sentence: "The block's addition: x, which came through the shortcut, and F(x), which the body made of x.",
  },
  MaxPool2d: {
    title: "max pooling", equation: "y = max(window)",
    sentence: "The largest number of a window.",
    reads: (step, index) => largestInWindow(step, index),
    readers: (step, index) => windowReaders(step, index).map((term) => ({...term,
      factor: largestInWindow(step, term.index).find((read) => read.index === index).factor})),
  },
  AvgPool2d: {
    title: "average pooling", equation: "y = Σ window / count",
    sentence: "The mean of a window.",
    reads: (step, index) => windowReads(step, index),
    readers: (step, index) => windowReaders(step, index),
  },
  AdaptiveAvgPool2d: {
    title: "global average pooling", equation: "y = Σ map / count",
    sentence: "The mean of the whole map.",
    reads: (step, index, size = mapSize(step)) =>
      range(size).map((at) => ({index: index * size + at, factor: 1 / size})),
    readers: (step, index, size = mapSize(step)) => [{index: Math.floor(index / size), factor: 1 / size}],
  },
  ZeroPadShortcut: {
    title: "shortcut with zeros", equation: "y = x, or 0",
    sentence: "Pixels of the block's input, as many as the body makes; the channels that the body adds are 0.",
    reads: (step, index) => paddedReads(step, index),
    readers: (step, index) => paddedReaders(step, index),
  },
  Flatten: {title: "flatten", equation: "y = x", sentence: "The same number; all maps are now in one row."},
  Dropout: {title: "dropout", equation: "y = x", sentence: "The same number: dropout acts in training only."},
  Linear: {
    title: "linear layer", equation: "y = Σ weight · x + bias",
    sentence: "Every number of the input times its own weight; all products are added, and the bias.",
    reads: (step, index) => range(step.node.input_shape[0]).map((input) => linearTerm(step, index, input, input)),
    readers: (step, index) => range(step.shape[0]).map((output) => linearTerm(step, output, index, output)),
  },
};
for (const kind of Object.values(KINDS)) {
  kind.reads ??= (step, index) => [{index, factor: 1}];
  kind.readers ??= kind.reads; // number for number
}

const range = (count) => Array.from({length: count}, (_, index) => index);
const mapSize = (step) => product(step.node.input_shape.slice(1));
const sumOfTerms = (terms) => terms.reduce((sum, {value}) => sum + value, 0);

/** The values of an image, and the gradients, whichever of them the page shows. */
const tensor = (name, image = 0) => valuesOf(name, {...store.state, direction: "forward"}, image);
const gradientOf = (name, image = 0) => valuesOf(name, {...store.state, direction: "gradient"}, image);

/** A parameter or buffer with which the numbers on screen were computed. */
const shownWeight = (key) => store.state.trace.of.weights[key].data;

const isMuted = (name, index) => {
  const {muted} = store.state.trace.of.edits;
  return Boolean(muted.get(name)?.has(placeOf(index, stepOf(name).shape)[0]));
};

/** The numbers under the window of output `index`: of all input `channels` (convolution), or of its own (pooling). */
function windowReads(step, index, channels = null) {
  const {node: {attributes, input_shape: [, height, width]}, shape} = step, terms = [];
  const [output, row, column] = placeOf(index, shape), {kernel_size: size, stride, padding} = attributes;
  for (const channel of channels ?? [output]) {
    for (let at = 0; at < size ** 2; at++) {
      const y = row * stride - padding + Math.floor(at / size), x = column * stride - padding + at % size;
      if (y < 0 || x < 0 || y >= height || x >= width) continue; // the border adds nothing
      const factor = windowFactor(step, channels && (output * channels.length + channel) * size ** 2 + at);
      terms.push({index: (channel * height + y) * width + x, factor, at, channel});
    }
  }
  return terms;
}

/** The outputs whose windows have input `index` in them. */
function windowReaders(step, index, outputs = null) {
  const {node: {attributes, input_shape}, shape: [, height, width]} = step, terms = [];
  const [channel, row, column] = placeOf(index, input_shape), {kernel_size: size, stride, padding} = attributes;
  for (const output of outputs ?? [channel]) {
    for (let at = 0; at < size ** 2; at++) {
      const y = (row + padding - Math.floor(at / size)) / stride, x = (column + padding - at % size) / stride;
      if (!Number.isInteger(y) || !Number.isInteger(x) || y < 0 || x < 0 || y >= height || x >= width) continue;
      const factor = windowFactor(step, outputs && (output * input_shape[0] + channel) * size ** 2 + at);
      terms.push({index: (output * height + y) * width + x, factor});
    }
  }
  return terms;
}

const windowFactor = ({name, node}, weight) =>
  weight === null ? 1 / node.attributes.kernel_size ** 2 : shownWeight(`${name}.weight`)[weight];

/** The first of the largest numbers has the factor 1, the others 0. */
function largestInWindow(step, index) {
  const terms = windowReads(step, index), values = tensor(step.inputs[0]);
  const largest = terms.reduce((best, term) => values[term.index] > values[best.index] ? term : best);
  return terms.map((term) => ({...term, factor: term === largest ? 1 : 0}));
}

function linearTerm({name, node}, output, input, index) {
  return {index, factor: shownWeight(`${name}.weight`)[output * node.attributes.in_features + input]};
}

function paddedReads({node, shape}, index) {
  const [channel, row, column] = placeOf(index, shape), [channels, height, width] = node.input_shape;
  const {stride} = node.attributes, source = channel - Math.floor((shape[0] - channels) / 2);
  if (source < 0 || source >= channels) return [];
  return [{index: (source * height + row * stride) * width + column * stride, factor: 1}];
}

function paddedReaders({node, shape: [channels, height, width]}, index) {
  const [channel, row, column] = placeOf(index, node.input_shape), {stride} = node.attributes;
  if (row % stride || column % stride) return [];
  const output = channel + Math.floor((channels - node.input_shape[0]) / 2);
  return [{index: (output * height + row / stride) * width + column / stride, factor: 1}];
}

/** BatchNorm's numbers for the channel of a number. */
function normalizationOf({name, node, shape}, index) {
  const [channel] = placeOf(index, shape), of = (key) => shownWeight(`${name}.${key}`)[channel];
  const [mean, variance, weight, bias] = ["running_mean", "running_var", "weight", "bias"].map(of);
  const deviation = Math.sqrt(variance + node.attributes.eps);
  return {mean, variance, deviation, weight, bias, factor: weight / deviation};
}

/** What is added to the products: the bias, or null. */
function biasOf(step, index) {
  const key = `${step.name}.bias`, output = step.shape.length === 3 ? placeOf(index, step.shape)[0] : index;
  return key in store.state.trace.of.weights ? shownWeight(key)[output] : null;
}

/**
 * What each layer that reads a number hands back to it: the layer's gradients times factors,
 * {title, path, block, reader, factors: [{index, factor}]}. Into a block there are two paths, "shortcut" and "body".
 */
function arrivals(name, index) {
  const groups = shownFlow().filter(({inputs}) => inputs.includes(name)).map((reader) => {
    const {name: title, block, lane, kind, inputs} = reader, isSkip = kind === "Sum" && inputs[0] === name;
    const isEntry = block && stepOf(name).block !== block;
    const path = isEntry ? (isSkip || lane === "shortcut" ? "shortcut" : "body") : null;
    const isOff = isSkip && store.state.trace.of.edits.skipsOff.has(block);
    const factors = isOff ? [] : KINDS[kind].readers(reader, index).filter((term) => !isMuted(title, term.index));
    return {title: path ? PATHS[path].title : `from ${title}`, path, block, reader: title, factors};
  });
  return groups.sort((one, other) => (other.path === "shortcut") - (one.path === "shortcut"));
}

const PATHS = {
  shortcut: {title: "g through the shortcut", colour: "accent"},
  body: {title: "F′(g) through the body", colour: "second"},
};

/** The gradient of a weight or a bias as a sum over positions and images: [{image, index, gradient, x, value}]. */
function weightTerms(step, key, weight) {
  const {inputs: [source], shape} = step, size = product(mapShape(shape).slice(1)), terms = [];
  const multiplied = weightInput(step, key, weight), isVector = shape.length === 1;
  const output = Math.floor(weight / product(store.state.trace.of.weights[key].shape.slice(1)));
  for (let image = 0; image < store.state.trace.outputs.input.shape[0]; image++) {
    const gradients = gradientOf(step.name, image), values = tensor(source, image);
    for (let at = 0; at < (isVector ? 1 : size); at++) {
      const index = isVector ? output : output * size + at, x = multiplied(values, index), gradient = gradients[index];
      if (x !== undefined) terms.push({image, index, gradient, x, value: gradient * x});
    }
  }
  return terms;
}

/** The function that gives what a weight is multiplied by in output `index`; undefined where that is the border. */
function weightInput(step, key, weight) {
  const {kind, node, shape} = step;
  if (key.endsWith(".bias")) return () => 1;
  if (kind === "Linear") return (values) => values[weight % node.attributes.in_features];
  if (kind === "BatchNorm2d") {
    return (values, index) => {
      const {mean, deviation} = normalizationOf(step, index);
      return (values[index] - mean) / deviation;
    };
  }
  const [channels, height, width] = node.input_shape, {kernel_size: size, stride, padding} = node.attributes;
  const channel = Math.floor(weight / size ** 2) % channels, at = weight % size ** 2;
  return (values, index) => {
    const [, row, column] = placeOf(index, shape);
    const y = row * stride - padding + Math.floor(at / size), x = column * stride - padding + at % size;
    return y < 0 || x < 0 || y >= height || x >= width ? undefined : values[(channel * height + y) * width + x];
  };
}
