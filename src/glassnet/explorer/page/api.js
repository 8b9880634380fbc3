"use strict";
// window.glassnet: the page's network for scripts and tests.

/** Images as {shape: (N, C, H, W), data: Float64Array}, of that or of nested arrays. */
function asImages(images) {
  const data = Float64Array.from(images.data ?? images.flat(3)), size = store.state.graph.input_shape;
  const shape = images.shape ?? [images.length, images[0].length, images[0][0].length, images[0][0][0].length];
  if (String(shape.slice(1)) !== String(size) || data.length !== shape.reduce((count, length) => count * length)) {
    const got = `${data.length} numbers of shape (${shape.join(", ")})`;
    throw new Error(`images must have shape (N, ${size.join(", ")}). Got ${got}.`);
  }
  return {shape, data};
}

/** Tensors with their shapes: {key: {shape, data}}. */
const withShapes = (gradients) => Object.fromEntries(
  Object.entries(gradients).map(([key, data]) => [key, {shape: store.state.weights[key].shape, data}]));

window.glassnet = {
  /** Fulfilled when the network has computed for the first time; rejected with the reason why it cannot. */
  ready: new Promise((resolve, reject) => {
    const stop = store.subscribe(({trace, problem}) => {
      if (!trace && !problem) return;
      stop();
      if (trace) resolve();
      else reject(new Error(problem));
    });
  }),

  /** The network on screen, as `glassnet.graph` gives it. */
  get graph() {
    return store.state.graph;
  },

  /**
   * The loss of images in training mode, and its gradient with respect to every parameter: {loss, gradients}, with
   * images (N, C, H, W) that are normalized, as `net.gradients` takes them in Python.
   */
  async gradients(images, labels) {
    await this.ready;
    const given = {images: asImages(images), labels: [...labels], normalized: true};
    const asked = {network: store.state.network, ...given, training: true};
    const {loss, gradients} = await session.call("trace", asked);
    return {loss, gradients: withShapes(gradients)};
  },

  /**
   * Train the network on screen, and answer {history, seconds, stepsDone}.
   *
   * It starts from the initial weights of `seed` (by default the run's) with the run's recipe and order of images, or
   * with `{from: "current"}` from the weights that it has. `steps` ends it early; other options are fields of the
   * recipe.
   */
  async train({from = "initial", seed = store.state.config.seeds[0], ...options} = {}) {
    await this.ready;
    const answer = await session.call("train", {network: store.state.network, from, seed, ...options});
    await refreshWeights(from === "initial" ? {seed, edits: NO_EDITS} : {});
    return answer;
  },

  /** All parameters and buffers: {key: {shape, data}}. */
  async stateDict() {
    await this.ready;
    return session.call("state", {network: store.state.network});
  },

  /** Classify the images of a split, "test" or "train": {loss, accuracy, predictions, probabilities}. */
  async evaluate(split = "test") {
    await this.ready;
    return session.call("evaluate", {network: store.state.network, split});
  },
};
window.glassnet.ready.catch(() => {}); // the page shows the reason itself
