// The worker: what the page may ask, one method of Session each. Answers are plain data with copies of the numbers.

const SLICE = 25; // milliseconds of work, after which a message of the page may arrive
const EVALUATED_AT_ONCE = 256; // images

const isCount = (value) => Number.isInteger(value) && value >= 1;

/** Settings that a reader may turn to anything: what is allowed, and whether a value is. */
const ALLOWED = {
  lr: ["a number above 0", (value) => value > 0 && value < Infinity],
  momentum: ["a number from 0 to below 1", (value) => value >= 0 && value < 1],
  batch_size: ["an integer of at least 1", isCount],
  epochs: ["an integer of at least 1", isCount],
};

/** The networks of the page by name: {network, variant, seed, edits, trainer, traced: the last traced pass}. */
class Session {
  /** @param {function(string, Object)} post takes an event, "step", "epoch" or "check", and its value */
  constructor(post) {
    Object.assign(this, {post, entries: {}, running: new Set(), pauses: 0});
  }

  /** Read what travels in the page, and build the run's network. */
  open(bytes) {
    const {config, images, labels, ...payload} = openPayload(bytes);
    const split = (name) => ({images: normalize(images[name], config.normalization), labels: labels[name].data});
    const test = split("test"), train = labels.train.data.length ? split("train") : test; // large data have no others
    Object.assign(this, {config, payload, splits: {train, test}});
    this.choose({});
    return {config, keys: Object.keys(this.entries.main.network.parameters)};
  }

  /** Build a network: one of config.variants, with a seed's initial weights or, for the run's own, the trained ones. */
  choose({network: name = "main", variant = 0, seed = this.config.seeds[0], weights = "trained"}) {
    const {graph, title, seeds} = this.config.variants[variant], network = new Network(graph);
    if (weights === "trained") {
      if (variant) throw new Error(`weights of a network other than the run's must be initial. Got trained: ${title}.`);
      network.load(this.payload.weights);
    } else {
      const allowed = seeds.join(", ") || "none, as the page has no initial weights of this network";
      if (!seeds.includes(seed)) throw new Error(`seed must be one of ${allowed}. Got ${seed}.`);
      network.load(initialState(graph, this.payload.normals[seed].data));
    }
    this.entries[name] = {network, variant, seed, edits: NO_EDITS, trainer: null, traced: null};
  }

  /** Return the normalized images and the labels of a split. */
  images(split) {
    if (this.splits[split].labels.length) return this.splits[split];
    throw new Error("The page must have images for this. Got none: the run was loaded without its data.");
  }

  entry(name = "main") {
    if (name in this.entries) return this.entries[name];
    throw new Error(`network must be one of ${Object.keys(this.entries).join(", ")}. Got ${name}.`);
  }

  /** Switch skip connections off and mute channels, from now on, in training, too. */
  setEdits({network: name, edits}) {
    const entry = this.entry(name);
    entry.edits = edits;
    if (entry.trainer) entry.trainer.edits = edits;
  }

  setWeights({network: name, key, values}) {
    const entry = this.entry(name), {data} = entry.network.tensors[key];
    const wrong = values.length === data.length ? values.find((value) => !Number.isFinite(value)) : values.length;
    if (wrong !== undefined) throw new Error(`${key} must be ${data.length} finite numbers. Got ${wrong}.`);
    data.set(values);
    entry.traced = null;
  }

  state({network: name} = {}) {
    return this.entry(name).network.stateDict();
  }

  load({network: name, state}) {
    const entry = this.entry(name);
    entry.network.load(state);
    entry.traced = null;
  }

  /**
   * Compute forward and, with labels, backward: every tensor and gradient, and what each path of a block hands on.
   * Images are pixels as in the data, unless they are `normalized`.
   */
  trace({network: name, images, labels = null, training = false, normalized = false}) {
    const entry = this.entry(name), {network, edits, traced} = entry, {classes} = network.graph.spec;
    const values = normalized ? images.data : normalize(images, this.config.normalization), count = images.shape[0];
    // A training, too, makes passes, and `traced` ends where weights are set.
    const again = !training && traced !== null && traced === network.pass && isSame(values, network.outputs.input.data);
    const logits = finiteLogits(network, values, count, {training, updateStatistics: false, edits, again});
    entry.traced = training ? null : network.pass;
    const hasLabels = labels !== null && !labels.includes(null);
    const {loss, gradient, probabilities} = crossEntropy(logits, hasLabels ? labels : new Int32Array(count), {classes});
    const answer = {logits, probabilities, outputs: network.outputs, weights: network.tensors}; // all of one moment
    if (!hasLabels) return copies(answer);
    network.backward(gradient);
    const {outputGradients, pathGradients, gradients} = network;
    return copies({...answer, loss, outputGradients, pathGradients, gradients});
  }

  /** Classify the images of a split, "train" or "test", in evaluation mode. */
  evaluate({network: name, split = "test"} = {}) {
    const {network, edits} = this.entry(name), {classes} = network.graph.spec;
    const {images, labels} = this.images(split), size = images.length / labels.length;
    const probabilities = new Float64Array(labels.length * classes);
    let loss = 0, correct = 0;
    for (let start = 0; start < labels.length; start += EVALUATED_AT_ONCE) {
      const part = labels.subarray(start, start + EVALUATED_AT_ONCE), end = start + part.length;
      const logits = finiteLogits(network, images.subarray(start * size, end * size), part.length, {edits});
      const result = crossEntropy(logits, part, {classes});
      loss += result.loss * part.length;
      correct += result.correct;
      probabilities.set(result.probabilities, start * classes);
    }
    const predict = (_, n) => indexOfLargest(probabilities.subarray(n * classes, (n + 1) * classes));
    const predictions = Int32Array.from(labels, predict);
    return {loss: loss / labels.length, accuracy: correct / labels.length, predictions, probabilities};
  }

  /** Return the largest difference between the weights of a network and the run's, and its key. */
  compare({network: name} = {}) {
    let largest = {key: null, difference: 0};
    for (const [key, {data}] of Object.entries(this.entry(name).network.tensors)) {
      const trained = this.payload.weights[key].data;
      const difference = data.reduce((most, value, i) => Math.max(most, Math.abs(value - trained[i])), 0);
      if (!(difference <= largest.difference)) largest = {key, difference};
    }
    return largest;
  }

  /**
   * Train until the last epoch, for some `steps` or to the end of an "epoch", or until `pause`. From a seed's "initial"
   * weights, or the "current" ones.
   *
   * Current weights go on with the momentum and the place in the epoch where the last call ended. `changes` are fields
   * of the recipe; `bug`, a key of BUGS, is planted in backward. With `watch` {key, index}, steps have the update of
   * that weight. Posts "epoch" after each epoch, and "step" after each slice with the newest step.
   */
  async train({network: name = "main", from = "current", seed, steps = Infinity, watch, bug = null, ...changes} = {}) {
    const trainer = this.trainer(name, from, seed, changes), history = [], start = performance.now();
    trainer.bug = bug;
    let stepsDone = 0, saved = trainer.network.stateDict();
    await this.inSlices((isEnd) => {
      if (this.entry(name).trainer !== trainer || trainer.isDone) return true; // another network was chosen
      const {record, ...numbers} = watch ? watchedStep(trainer, watch) : trainer.step();
      const isLast = ++stepsDone >= steps || (steps === "epoch" && record !== null) || trainer.isDone;
      if (!Number.isFinite(numbers.loss) || (record && notFinite(trainer.network))) this.giveUp(name, saved, numbers);
      if (record) {
        saved = trainer.network.stateDict();
        const {loss, accuracy} = trainer.withAverage(() => this.evaluate({network: name}));
        history.push({...record, test_loss: loss, test_accuracy: accuracy});
        this.post("epoch", {network: name, ...history.at(-1)});
      }
      if (isEnd || isLast) this.post("step", {network: name, ...numbers});
      return isLast;
    });
    if (trainer.isDone && this.entry(name).trainer === trainer) {
      trainer.average?.exchange(); // the averages stay, as in Python
      this.entry(name).trainer = null;
    }
    return {history, seconds: (performance.now() - start) / 1000, stepsDone};
  }

  /** End a training whose numbers overflow. */
  giveUp(name, saved, {epoch, loss, lr}) {
    const entry = this.entry(name);
    const became = Number.isFinite(loss) ? "a weight became infinite" : `the loss became ${loss}`;
    entry.network.load(saved);
    entry.trainer = null;
    throw new Error(
      `Training diverged in epoch ${epoch}: ${became} at a learning rate of ${lr}. ` +
      "The network has the weights from before it. Try a lower learning rate.",
    );
  }

  /** Change settings of the recipe while a training runs. */
  change({network: name = "main", ...changes}) {
    this.trainer(name, "current", null, changes);
  }

  /** Return the trainer that a call of `train` goes on with, or a new one. */
  trainer(name, from, seed, changes) {
    for (const [field, value] of Object.entries(changes)) {
      const isSetting = () => field in this.config.recipe;
      const [allowed, isAllowed] = ALLOWED[field] ?? ["a setting of the run's recipe", isSetting];
      if (!isAllowed(value)) throw new Error(`${field} must be ${allowed}. Got ${value}.`);
    }
    const {variant} = this.entries[name] ?? {};
    if (from === "initial") this.choose({network: name, variant, seed, weights: "initial"});
    const entry = this.entry(name), recipe = {...(entry.trainer?.recipe ?? this.config.recipe), ...changes};
    if (entry.trainer) entry.trainer.change(recipe);
    const order = this.payload.order[entry.seed]?.data, data = this.images("train");
    entry.trainer ??= new Trainer(entry.network, recipe, data, order, entry.edits);
    return entry.trainer;
  }

  /** Return the bugs of BUGS that a network can have. */
  bugs({network: name} = {}) {
    const kinds = new Set(["Loss", ...this.entry(name).network.layers().map((layer) => layer.node?.kind)]);
    return Object.fromEntries(Object.entries(BUGS).filter(([, {kind}]) => kinds.has(kind)));
  }

  /** Compare gradients with central differences, `count` for each parameter, on some images; posts each as "check". */
  async check({network: name, count = 3, images: n = 4, bug = null} = {}) {
    const {network, edits} = this.entry(name), copied = new Network(network.graph), rows = [];
    copied.load(network.stateDict());
    const {images, labels} = this.images("train"), size = images.length / labels.length;
    const pixels = images.subarray(0, n * size);
    const comparisons = checkGradients(copied, pixels, labels.subarray(0, n), {count, bug, edits});
    await this.inSlices(() => {
      const {value, done} = comparisons.next();
      if (!done) rows.push(value);
      if (!done) this.post("check", value);
      return done;
    });
    return rows;
  }

  /** Stop all trainings and checks after the step that they are at; they answer with what they have. */
  async pause() {
    this.pauses++;
    await Promise.all(this.running);
  }

  /** Call `work(isEnd)`, `isEnd` at the end of a slice, until it returns true or a pause comes. */
  async inSlices(work) {
    const {pauses} = this;
    let stopped;
    const running = new Promise((resolve) => (stopped = resolve));
    this.running.add(running);
    try {
      for (let begin = performance.now(); this.pauses === pauses; ) {
        const isEnd = performance.now() - begin > SLICE;
        if (work(isEnd)) break;
        if (!isEnd) continue;
        await nextTask();
        begin = performance.now();
      }
    } finally {
      this.running.delete(running);
      stopped();
    }
  }
}

/** Let messages arrive. A message to oneself comes back at once; a timer would take 4 ms or more. */
function nextTask() {
  return new Promise((resolve) => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}

/** Take a step; its `update` is what it did to one weight, and what the optimizer carried before and after. */
function watchedStep(trainer, {key, index}) {
  const {network, optimizer} = trainer, {data} = network.parameters[key], before = data[index];
  const carried = () =>
    Object.fromEntries(Object.entries(optimizer.carried[key] ?? {}).map(([name, values]) => [name, values[index]]));
  const carriedBefore = carried(), numbers = trainer.step(), gradient = network.gradients[key][index];
  return {...numbers, update: {key, index, before, gradient, carriedBefore, carried: carried(), after: data[index]}};
}

const isSame = (values, others) =>
  values.length === others.length && values.every((value, index) => value === others[index]);

function finiteLogits(network, images, count, options) {
  const logits = network.forward(images, count, options);
  if (logits.every(Number.isFinite)) return logits;
  throw new Error(notFinite(network) ?? `The logits must be finite. Got ${logits.find((z) => !Number.isFinite(z))}.`);
}

/** Return a sentence about the first parameter or buffer that is not finite, or null. */
function notFinite({tensors}) {
  for (const [key, {data}] of Object.entries(tensors)) {
    const wrong = data.find((value) => !Number.isFinite(value));
    if (wrong !== undefined) return `${key} must be finite numbers. Got ${wrong}.`;
  }
  return null;
}

/** Return plain data with copies of its arrays of numbers. */
function copies(value) {
  if (ArrayBuffer.isView(value)) return value.slice();
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value; // texts and shapes
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, copies(member)]));
}

/** Return the memory of all arrays of numbers in plain data. */
function buffersOf(value) {
  if (ArrayBuffer.isView(value)) return [value.buffer];
  return value !== null && typeof value === "object" ? Object.values(value).flatMap(buffersOf) : [];
}

/** Answer messages {id, method, arguments} by {id, result} or {id, error}, a sentence; events are {event, result}. */
function serve(scope) {
  const session = new Session((event, result) => scope.postMessage({event, result}));
  scope.onmessage = async ({data: {id, method, arguments: values}}) => {
    try {
      const result = await session[method](...values);
      scope.postMessage({id, result}, [...new Set(buffersOf(result))]);
    } catch (error) {
      scope.postMessage({id, error: error.message});
    }
  };
}

if (typeof WorkerGlobalScope !== "undefined") serve(self);
