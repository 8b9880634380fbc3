// The network: it interprets the graph that glassnet.layer_graph makes of the run's network.

/** Nothing is changed in the network. */
const NO_EDITS = {skipsOff: new Set(), muted: new Map()};

/** Return all nodes of a graph, each before the nodes that it consists of: in the order of a state dict's keys. */
function allNodes(node) {
  const parts = node.kind === "Residual" ? [...node.body, node.shortcut, node.activation] : node.children ?? [];
  return [node, ...parts.filter(Boolean).flatMap(allNodes)];
}

/** Return an object with the same keys and the values that a function makes of the old ones. */
function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}

/** Layers one after another. */
class Sequential {
  constructor(node, network) {
    this.layers = node.children.map((child) => makeLayer(child, network));
  }

  forward(x, pass) {
    return this.layers.reduce((y, layer) => layer.forward(y, pass), x);
  }

  backward(dy, pass) {
    return this.layers.reduceRight((gradient, layer) => layer.backward(gradient, pass), dy);
  }
}

/**
 * A residual block of a body F, a shortcut S and an activation a:
 *
 *   y = a(S(x) + F(x))        g = a'(dy)        dx = S'(g) + F'(g)
 *
 * where f' is the backward pass of f. With the identity as shortcut dx = g + F'(g): g reaches x unchanged. The plain
 * block, and a block whose skip connection is switched off, are y = a(F(x)).
 */
class Residual extends Layer {
  constructor(node, network) {
    super(node, network);
    this.body = new Sequential({children: node.body}, network);
    this.shortcut = node.shortcut && makeLayer(node.shortcut, network);
    this.activation = node.activation && makeLayer(node.activation, network);
  }

  output(x, pass) {
    const {name, node, body, shortcut, activation} = this, shape = node.output_shape;
    this.skips = shortcut !== null && !pass.edits.skipsOff.has(name);
    pass.keepOutput(`${name}.input`, x, node.input_shape);
    let sum = body.forward(x, pass);
    if (this.skips) {
      const carried = shortcut.forward(x, pass), changed = sum;
      pass.keepOutput(`${name}.shortcut`, carried, shape);
      sum = this.outputArray();
      for (let i = 0; i < sum.length; i++) sum[i] = carried[i] + changed[i];
    }
    pass.keepOutput(`${name}.sum`, sum, shape);
    return activation ? activation.forward(sum, pass) : sum;
  }

  inputGradient(dy, pass) {
    const {name, shortcut, activation} = this;
    const g = activation ? activation.backward(dy, pass) : dy;
    pass.outputGradients[`${name}.sum`] = g;
    const body = this.body.backward(g, pass);
    let dx = body, carried = null;
    if (this.skips) {
      pass.outputGradients[`${name}.shortcut`] = g;
      carried = shortcut.backward(g, pass);
      if (pass.bug !== "lost skip gradient") {
        dx = this.inputGradientArray();
        for (let i = 0; i < dx.length; i++) dx[i] = carried[i] + body[i];
      }
    }
    pass.pathGradients[name] = {shortcut: carried, body};
    pass.outputGradients[`${name}.input`] = dx;
    return dx;
  }
}

/** Return the names of the blocks and layers whose edits differ. */
function changedNames(edits, others) {
  const texts = ({skipsOff, muted}) =>
    new Map([...skipsOff, ...muted.keys()].map((name) => [name, [skipsOff.has(name), ...muted.get(name) ?? []].join()]));
  const [before, after] = [texts(edits), texts(others)];
  return new Set([...before.keys(), ...after.keys()].filter((name) => before.get(name) !== after.get(name)));
}

const LAYERS = {
  Conv2d, BatchNorm2d, ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten: Identity, Linear, Dropout, Identity,
  ZeroPadShortcut, Residual, Sequential,
};

function makeLayer(node, network) {
  if (!(node.kind in LAYERS)) {
    throw new Error(`kind of ${node.name} must be one of ${Object.keys(LAYERS).join(", ")}. Got ${node.kind}.`);
  }
  return new LAYERS[node.kind](node, network);
}

/** A network that computes: forward, backward, and with parts of it switched off. */
class Network {
  /** @param {Object} graph the tree of nodes from `glassnet.graph`, with the spec at its root */
  constructor(graph) {
    const nodes = allNodes(graph), allocate = (shape) => ({shape, data: new Float64Array(product(shape))});
    this.graph = graph;
    /** {key: {shape, data}} of everything in the state dict; write into data to change the network. */
    this.tensors = mapValues(Object.assign({}, ...nodes.flatMap((node) => [node.parameters, node.buffers])), allocate);
    const those = (keys) => Object.fromEntries(keys.map((key) => [key, this.tensors[key]]));
    /** Those that are trained, and those that are not: BatchNorm's running statistics. */
    this.parameters = those(nodes.flatMap((node) => Object.keys(node.parameters)));
    this.buffers = those(nodes.flatMap((node) => Object.keys(node.buffers)));
    /** {key: Float64Array}: the gradient of the loss with respect to each parameter, from the last `backward`. */
    this.gradients = mapValues(this.parameters, ({data}) => new Float64Array(data.length));
    this.root = makeLayer(graph, this);
  }

  /** Copy a state {key: {data}} into parameters and buffers; `num_batches_tracked` may be missing. */
  load(state) {
    for (const [key, {data}] of Object.entries(this.tensors)) {
      if (key in state) data.set(state[key].data);
      else if (!key.endsWith("num_batches_tracked")) throw new Error(`state must have ${key}. Got none.`);
    }
  }

  /** Return copies of all parameters and buffers: {key: {shape, data: Float64Array}}. */
  stateDict() {
    return mapValues(this.tensors, ({shape, data}) => ({shape, data: data.slice()}));
  }

  /**
   * Return the logits (count, classes) of images, and keep what `backward` needs.
   *
   * All results are the network's own memory, valid until the next pass.
   *
   * @param {Float64Array} images (count, channels, height, width), normalized
   * @param {number} count number of images
   * @param {Object} options
   * @param {boolean} options.training normalize by the batch's statistics, and drop out
   * @param {boolean} options.updateStatistics let BatchNorm's running statistics follow, by default in training
   * @param {{skipsOff: Set<string>, muted: Map<string, Set<number>>}} options.edits blocks whose skip connection is
   *   off; for names of `outputs`, channels that give 0
   * @param {boolean} options.again the last pass had the same images, weights and mode: layers before the first one
   *   with other edits keep what they have
   */
  forward(images, count, {training = false, updateStatistics = training, edits = NO_EDITS, again = false} = {}) {
    /** {name: {shape, data}}: the output of every layer and block, and of "input", "BLOCK.input", ".shortcut", ".sum". */
    this.outputs = {};
    const keepOutput = (name, data, shape) => { this.outputs[name] = {shape: [count, ...shape], data}; };
    const changed = again ? changedNames(this.pass.edits, edits) : new Set();
    this.pass = {count, training, updateStatistics, edits, keepOutput, changed, computes: !again};
    keepOutput("input", images, this.graph.input_shape);
    return this.root.forward(images, this.pass);
  }

  /**
   * Return the gradient with respect to the images of the last `forward`, and fill `gradients`.
   *
   * @param {Float64Array} logitsGradient (count, classes), of the loss with respect to the logits
   * @param {Object} options
   * @param {?string} options.bug a key of BUGS
   * @param {boolean} options.inputGradient false saves the time for the images' gradient, which a training does not need
   */
  backward(logitsGradient, {bug = null, inputGradient = true} = {}) {
    /** {name: Float64Array}: the gradient of the loss with respect to each of `outputs`. */
    this.outputGradients = {};
    /** {block: {shortcut, body}}: what each path of a block hands back to its input; shortcut is null without one. */
    this.pathGradients = {};
    for (const gradient of Object.values(this.gradients)) gradient.fill(0); // also of shortcuts that are switched off
    const {outputGradients, pathGradients} = this, unwanted = inputGradient ? null : this.outputs.input.data;
    const dx = this.root.backward(logitsGradient, {...this.pass, bug, unwanted, outputGradients, pathGradients});
    if (inputGradient) outputGradients.input = dx;
    return inputGradient ? dx : null;
  }

  /** Return all layers and blocks, a block before the layers it is made of. */
  layers() {
    const parts = (layer) => [...(layer.layers ?? []), layer.body, layer.shortcut, layer.activation].filter(Boolean);
    const below = (layer) => [layer, ...parts(layer).flatMap(below)];
    return below(this.root);
  }

  /** Let dropout continue from a seed: equal seeds give equal masks. */
  seedDropout(seed) {
    for (const layer of this.layers()) if (layer instanceof Dropout) layer.seed = seed;
  }

  /** Return the choices of the last `forward`, one array a layer; where they change, the loss has a kink. */
  activationPattern() {
    return this.layers().flatMap((layer) => {
      if (layer instanceof ReLU) return [Uint8Array.from(layer.y, (value) => value > 0)];
      return layer instanceof MaxPool2d ? [layer.winners.slice()] : [];
    });
  }
}
