// Are the gradients right? Central differences of the loss L, of two widths, against what `backward` computes:
//
//   D(e) = (L(w + e) − L(w − e)) / (2·e)        difference = (4·D(e) − D(2·e)) / 3
//
// D(e) alone is wrong by a multiple of e²; the two widths together are wrong by a multiple of e⁴ only.

const WIDTHS = [1e-4, 1e-5, 1e-6]; // tried in turn: a wider one may cross a kink, or the loss may bend too much
const FLOOR = 1e-4; // gradients below this are compared absolutely
const TOLERANCE = 1e-6; // upper limit of the error; rounding alone gives about 1e-8

/**
 * Compare `count` gradients of each parameter with central differences, in training mode; the last layer first.
 *
 * Yields {key, index, backward, difference, error, kink, passed} one by one. `kink` is true where every width crosses
 * one: an input of ReLU changes its sign, or another pixel becomes the largest of its window. The loss has no
 * derivative there: difference, error and passed are null.
 *
 * @param {Float64Array} images normalized (N, C, H, W)
 * @param {{count: number, bug: ?string}} options Infinity: all gradients; a key of BUGS is planted in `backward`
 */
function* checkGradients(network, images, labels, {count = 3, bug = null, edits = NO_EDITS} = {}) {
  const {classes} = network.graph.spec;
  const measure = () => {
    network.seedDropout(0);
    const logits = network.forward(images, labels.length, {training: true, updateStatistics: false, edits});
    return crossEntropy(logits, labels, {classes, bug});
  };
  network.backward(measure().gradient, {bug});
  for (const [key, gradient] of Object.entries(network.gradients).reverse()) {
    const {data} = network.parameters[key], compared = Math.min(data.length, count);
    for (let i = 0; i < compared; i++) {
      const index = Math.floor(((i + 0.5) * data.length) / compared), backward = gradient[index];
      const difference = centralDifference(network, data, index, () => measure().loss), kink = difference === null;
      const size = Math.max(FLOOR, Math.abs(difference) + Math.abs(backward));
      const error = kink ? null : Math.abs(difference - backward) / size;
      yield {key, index, backward, difference, error, kink, passed: kink ? null : error < TOLERANCE};
    }
  }
}

/** Return the difference quotient of the loss along one weight, or null if every width crosses a kink. */
function centralDifference(network, data, index, measureLoss) {
  const origin = data[index];
  let derivative = null;
  for (const width of WIDTHS) {
    const [after, before, farAfter, farBefore] = [width, -width, 2 * width, -2 * width].map((offset) => {
      data[index] = origin + offset;
      return {loss: measureLoss(), pattern: network.activationPattern()};
    });
    data[index] = origin;
    if (![before, farAfter, farBefore].every(({pattern}) => isSamePattern(pattern, after.pattern))) continue;
    const single = (after.loss - before.loss) / (2 * width), double = (farAfter.loss - farBefore.loss) / (4 * width);
    derivative = (4 * single - double) / 3;
    if (Math.abs(single - double) <= 1e-4 * Math.max(FLOOR, Math.abs(derivative))) break;
  }
  return derivative;
}

function isSamePattern(pattern, other) {
  return pattern.every((choices, i) => choices.every((choice, j) => choice === other[i][j]));
}
