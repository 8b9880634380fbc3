"use strict";
// The state of the page: one store. What the network computes for it, the trace, is asked of the worker and stored too.

/** The worker that holds the networks. `call` answers with a promise; `on` subscribes to events such as "step". */
class Session {
  constructor(source) {
    this.worker = new Worker(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
    this.waiting = new Map();
    this.listeners = new Map();
    this.calls = 0;
    this.worker.onmessage = ({data}) => this.receive(data);
    this.worker.onerror = (event) => store.set({problem: event.message});
  }

  call(method, ...args) {
    const id = ++this.calls;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, {resolve, reject});
      this.worker.postMessage({id, method, arguments: args});
    });
  }

  on(event, callback) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), callback]);
  }

  receive({id, event, result, error}) {
    if (event) for (const callback of this.listeners.get(event) ?? []) callback(result);
    else {
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(result);
    }
  }
}

let session = null; // both opened by main.js
let dataset = null; // the payload: {config, images: {train, test}, labels: {train, test}, ...}

/** An image of the data as the state holds it. */
function dataImage(split, index) {
  const {shape: [, ...size], data} = dataset.images[split], count = product(size);
  const tensor = {shape: [1, ...size], data: Float64Array.from(data.subarray(index * count, (index + 1) * count))};
  return {tensor, label: dataset.labels[split].data[index], title: `${split} image ${index}`, split, index};
}

const NO_EDITS = Object.freeze({skipsOff: new Set(), muted: new Map()});
const UNDOABLE = ["image", "edits", "changedWeights"];

/** Values by field, told to subscribers when they change. Changes of an image, a switch or a weight can be undone. */
class Store {
  constructor(state) {
    this.state = state;
    this.forget();
    this.subscribers = new Set();
  }

  set(changes) {
    if (UNDOABLE.some((field) => field in changes)) {
      this.past.push(this.undoable());
      this.future = [];
    }
    this.replace(changes);
  }

  undoable() {
    return Object.fromEntries(UNDOABLE.map((field) => [field, this.state[field]]));
  }

  undo() {
    this.step(this.past, this.future);
  }

  redo() {
    this.step(this.future, this.past);
  }

  step(from, to) {
    if (!from.length) return;
    to.push(this.undoable());
    this.replace(from.pop());
  }

  /** Nothing can be undone from here on. */
  forget() {
    this.past = [];
    this.future = [];
  }

  replace(changes) {
    const before = this.state;
    this.state = {...before, ...changes};
    for (const subscriber of this.subscribers) subscriber(this.state, before);
  }

  /** Call `subscriber(state, before)` after every change; returns the function that ends it. */
  subscribe(subscriber) {
    this.subscribers.add(subscriber);
    return () => this.subscribers.delete(subscriber);
  }
}

const store = new Store({
  config: null, // what the payload says of the run
  graph: null, // the network on screen, as glassnet.graph gives it
  variant: 0, // its place in config.variants
  seed: null,
  network: "main",
  image: null, // {tensor: {shape: [1, C, H, W], data: 0..255}, label, title, isEmpty: nothing is on it}
  batch: [], // more images of the same kind, whose gradients are added to the image's
  edits: NO_EDITS,
  changedWeights: new Map(), // key -> Float64Array, where it differs from the network's own
  weights: null, // {key: {shape, data}}: the network's own
  origin: {kind: "trained"}, // of the weights: "trained", "initial", "training" with gn.train's settings, "other"
  trace: null, // {loss, logits, probabilities, outputs, outputGradients, pathGradients, gradients, of: what it is of}
  layer: "conv1", // the tensor on screen
  channel: 0,
  pixel: [0, 0], // row and column
  hover: null, // {layer, index} of the number under the mouse
  weight: null, // {key, index} of the weight on screen
  direction: "forward", // or "gradient"
  panel: "look",
  dark: darkScheme.matches,
  problem: null, // a sentence for the reader
  refusedFile: null, // {text, image}: an image file that could not be read, and the image shown then
});

/** The fields of the store that a component shows; it is drawn again when one of them changes. */
function useStore(...fields) {
  const [, draw] = useState(0), drawn = store.state;
  useEffect(() => {
    const update = (state, before) => {
      if (fields.some((field) => state[field] !== before[field])) draw((count) => count + 1);
    };
    update(store.state, drawn);
    return store.subscribe(update);
  }, []);
  return store.state;
}

/** The values of a parameter or buffer as the page shows them: changed by hand or the network's own. */
function weightValues(key) {
  return store.state.changedWeights.get(key) ?? store.state.weights[key].data;
}

const TRACED = ["image", "batch", "edits", "changedWeights", "network", "weights"];

/** Keep the trace in step with the state: one request at a time, and after it the newest state. */
class Tracer {
  constructor() {
    this.busy = false;
    this.edits = NO_EDITS;
    this.sent = new Map();
    store.subscribe((state, before) => {
      if (TRACED.some((field) => state[field] !== before[field])) this.request();
    });
  }

  async request() {
    this.stale = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.stale && store.state.image && store.state.weights) {
        this.stale = false;
        await this.update(store.state);
      }
    } catch (error) {
      store.replace({problem: error.message});
    } finally {
      this.busy = false;
    }
  }

  async update({network, graph, edits, changedWeights, weights, image, batch}) {
    if (edits !== this.edits) await session.call("setEdits", {network, edits});
    this.edits = edits;
    for (const key of new Set([...this.sent.keys(), ...changedWeights.keys()])) {
      const values = changedWeights.get(key) ?? weights[key].data;
      if (this.sent.get(key) !== values) await session.call("setWeights", {network, key, values});
    }
    this.sent = new Map(changedWeights);
    const ask = async (label) => {
      const trace = await session.call("trace", {network, ...stacked([{...image, label}, ...batch])});
      const of = {graph, edits, weights: trace.weights, image}; // a training may have changed them since
      return {...trace, of};
    };
    let label = image.label;
    if (label === null || store.state.direction === "forward") { // values come first, in a third of the time
      const trace = await ask(null);
      if (store.state.direction === "forward") this.show(trace);
      if (this.stale && store.state.trace === trace) return;
      label ??= indexOfLargest(trace.logits.subarray(0, graph.output_shape[0]));
    }
    this.show(await ask(label));
  }

  show(trace) {
    const flow = flowOf(trace.of.graph), isKnown = flow.some(({name}) => name === store.state.layer);
    store.replace({trace, problem: null, ...(isKnown ? {} : {layer: flow[1].name, hover: null})});
  }
}

/** Show values or gradients; after a change, gradients come a moment later than values. */
function showDirection(direction) {
  const isThere = ({trace}) => direction === "forward" || trace.outputGradients;
  if (isThere(store.state)) return store.set({direction});
  const stop = store.subscribe((state) => {
    if (!isThere(state)) return;
    stop();
    store.set({direction});
  });
}

/** The class whose loss the gradients are of: the label, or without one the predicted class. */
function traceLabel({trace, config} = store.state) {
  return trace.of.image.label ?? indexOfLargest(trace.logits.subarray(0, config.classes.length));
}

const indexOfLargest = (values) => values.reduce((best, value, index) => value > values[best] ? index : best, 0);
const product = (sizes) => sizes.reduce((one, other) => one * other, 1);

/** Several images as one tensor with their labels. */
function stacked(images) {
  const [, ...shape] = images[0].tensor.shape, size = images[0].tensor.data.length;
  const data = new Float64Array(images.length * size);
  images.forEach((image, index) => data.set(image.tensor.data, index * size));
  return {images: {shape: [images.length, ...shape], data}, labels: images.map((image) => image.label)};
}

/** Read the network's weights again, after a training or a change of network; changes by hand end. */
async function refreshWeights(changes = {}) {
  const weights = await session.call("state", {network: store.state.network});
  store.forget();
  store.replace({origin: {kind: "other"}, ...changes, weights, changedWeights: new Map()});
}

/** Show another of config.variants, from the initial weights of a seed or from the trained ones. */
async function chooseNetwork({variant, seed, weights}) {
  await session.call("choose", {network: store.state.network, variant, seed, weights});
  const {graph} = store.state.config.variants[variant];
  await refreshWeights({variant, seed, graph, edits: NO_EDITS, origin: {kind: weights}});
}
