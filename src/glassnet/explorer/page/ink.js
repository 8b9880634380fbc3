// A digit on paper, brought to the form of the built-in digits, to the level as glassnet.data.images.ink does it.
// Planes are {width, height, values: Float64Array}, rows of pixels; masks have a Uint8Array of 0 and 1.

const DIGIT_SIZE = 8; // side of the built-in digits, in cells
const CELL = 16; // pixels of the canvas along a cell
const CANVAS_SIDE = DIGIT_SIZE * CELL;
const INK_EDGE = 0.1; // darkness at which ink begins, between 0 (paper) and 1 (ink)
const VIEW_SIDE = 128; // longest side of the reduced image in which ink is looked for
const MAX_VIEWS = 3;
const MIN_CONTRAST = 20; // of ink to paper, in levels
const [MIN_INKED, MEAN_INKED] = [256 / 1024, 313 / 1024]; // fractions of the canvas
const MAX_DETAIL = 1.45;
const MASS_CENTRE = 4.065 * CELL; // of the training images, from the left border
const NO_INK = "no ink was found";

const addUp = (values) => values.reduce((sum, value) => sum + value, 0);
const meanOf = (values) => addUp(values) / values.length;
const smallestOf = (values) => values.reduce((a, b) => (b < a ? b : a));
const maximumOf = (values) => values.reduce((a, b) => (b > a ? b : a));
const clip = (value, low, high) => Math.min(high, Math.max(low, value));

/** Return the value below which a fraction of the values is, linear between neighbours. */
function quantile(values, fraction) {
  const sorted = Float64Array.from(values).sort();
  const position = fraction * (sorted.length - 1);
  const [low, part] = [Math.floor(position), position % 1];
  const [a, b] = [sorted[low], sorted[Math.min(low + 1, sorted.length - 1)]];
  return part < 0.5 ? a + (b - a) * part : b - (b - a) * (1 - part);
}

function mapPlane({width, height, values}, change) {
  return {width, height, values: values.map(change)};
}

/** Return [start, stop] of the rows, then of the columns, that have a value of at least the limit. */
function boundsOf({width, height, values}, limit) {
  const rows = new Uint8Array(height);
  const columns = new Uint8Array(width);
  for (let index = 0; index < values.length; index++) {
    if (values[index] >= limit) rows[Math.floor(index / width)] = columns[index % width] = 1;
  }
  return [rows.indexOf(1), rows.lastIndexOf(1) + 1, columns.indexOf(1), columns.lastIndexOf(1) + 1];
}

/** Return the maximum over each pixel and its four neighbours. */
function grow({width, height, values}) {
  const grown = values.slice();
  for (let index = 0; index < values.length; index++) {
    if (index >= width) grown[index] = Math.max(grown[index], values[index - width]);
    if (index + width < values.length) grown[index] = Math.max(grown[index], values[index + width]);
    if (index % width > 0) grown[index] = Math.max(grown[index], values[index - 1]);
    if (index % width < width - 1) grown[index] = Math.max(grown[index], values[index + 1]);
  }
  return {width, height, values: grown};
}

/** Return the direction in which the colours (rows of three) vary most, its components' magnitudes adding up to 1. */
function mainDirection(colours) {
  const means = [0, 1, 2].map((channel) => meanOf(colours.map((colour) => colour[channel])));
  let matrix = [0, 1, 2].map((row) => [0, 1, 2].map((column) =>
    addUp(colours.map((colour) => (colour[row] - means[row]) * (colour[column] - means[column])))));
  for (let squaring = 0; squaring < 40; squaring++) { // powers of the matrix leave the largest eigenvector
    const trace = matrix[0][0] + matrix[1][1] + matrix[2][2];
    if (trace === 0) return [0, 0, 1]; // one colour
    const scaled = matrix.map((row) => row.map((value) => value / trace));
    matrix = scaled.map((row) => [0, 1, 2].map((column) => addUp(row.map((value, i) => value * scaled[i][column]))));
  }
  const largest = matrix.reduce((best, row) => (Math.hypot(...row) > Math.hypot(...best) ? row : best));
  const size = addUp(largest.map(Math.abs)) * (addUp(largest) >= 0 ? 1 : -1);
  return largest.map((value) => value / size);
}

/** Return a lightness in which ink and paper of an RGB image differ most. */
function mainContrast({width, height, values}) {
  const colours = [];
  const step = 1 + Math.floor(values.length / 10000);
  for (let pixel = 0; pixel < width * height; pixel += step) colours.push(values.subarray(3 * pixel, 3 * pixel + 3));
  const [red, green, blue] = mainDirection(colours);
  const lightness = new Float64Array(width * height).map((_, pixel) =>
    values[3 * pixel] * red + values[3 * pixel + 1] * green + values[3 * pixel + 2] * blue);
  return {width, height, values: lightness};
}

/** Return the threshold that separates two classes of values best (Otsu 1979), from a histogram of 256 bins. */
function otsuThreshold(values) {
  let [low, high] = [smallestOf(values), maximumOf(values)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const edges = new Float64Array(257).map((_, index) => (index < 256 ? index * ((high - low) / 256) + low : high));
  const counts = new Float64Array(256);
  for (const value of values) {
    let bin = Math.min(255, Math.floor(((value - low) / (high - low)) * 256));
    if (value < edges[bin]) bin -= 1;
    else if (bin < 255 && value >= edges[bin + 1]) bin += 1;
    counts[bin] += 1;
  }
  const weighted = counts.map((count, bin) => (count * (edges[bin + 1] + edges[bin])) / 2);
  const total = addUp(weighted);
  let [below, sumBelow, best, threshold] = [0, 0, -1, 0];
  for (let bin = 0; bin < 255; bin++) {
    below += counts[bin];
    sumBelow += weighted[bin];
    const above = values.length - below;
    const difference = sumBelow / Math.max(below, 1) - (total - sumBelow) / Math.max(above, 1);
    const score = below * above * difference ** 2;
    if (score > best) [best, threshold] = [score, edges[bin + 1]];
  }
  return threshold;
}

/** Return the standard deviation of white noise, from second differences along the rows. */
function noiseOf({width, height, values}) {
  if (Math.min(width, height) < VIEW_SIDE / 2) return 0;
  const differences = [];
  for (let index = 2; index < values.length; index++) {
    if (index % width > 1) {
      differences.push(Math.abs(values[index] - values[index - 1] - (values[index - 1] - values[index - 2])));
    }
  }
  return quantile(differences, 0.5) / (0.6745 * 6 ** 0.5);
}

/** Solve three linear equations, rows of four numbers, by elimination with the largest pivot. */
function solveThree(rows) {
  for (let column = 0; column < 3; column++) {
    const pivot = [0, 1, 2].slice(column).reduce((best, row) =>
      (Math.abs(rows[row][column]) > Math.abs(rows[best][column]) ? row : best));
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = column + 1; row < 3; row++) {
      const factor = rows[row][column] / rows[column][column];
      rows[row] = rows[row].map((value, index) => value - factor * rows[column][index]);
    }
  }
  const solution = [0, 0, 0];
  for (let row = 2; row >= 0; row--) {
    const rest = addUp(solution.map((value, index) => (index > row ? value * rows[row][index] : 0)));
    solution[row] = (rows[row][3] - rest) / rows[row][row];
  }
  return solution;
}

/** Return the lightness of the paper everywhere, a plane through those of its pixels that are near a plane. */
function evenSurface({width, height, values}, isPaper) {
  const coordinate = (index, length) => (length > 1 ? index * (2 / (length - 1)) - 1 : -1);
  const step = 1 + Math.floor(Math.max(width, height) / 32);
  const sample = [];
  for (let row = 0; row < height; row += step) {
    for (let column = 0; column < width; column += step) {
      const index = row * width + column;
      const terms = [1, coordinate(column, width), coordinate(row, height)];
      sample.push({terms, value: values[index], isPaper: isPaper(index)});
    }
  }
  const evaluate = (plane, terms) => terms[0] * plane[0] + terms[1] * plane[1] + terms[2] * plane[2];
  let plane = [quantile(values.filter((_, index) => isPaper(index)), 0.5), 0, 0];
  let previous = sample.map(() => false);
  for (let round = 0; round < 6; round++) {
    const distances = sample.map(({terms, value}) => Math.abs(value - evaluate(plane, terms)));
    const ofPaper = distances.filter((_, index) => sample[index].isPaper);
    const limit = ofPaper.length ? Math.max(3, 4 * quantile(ofPaper, 0.5)) : 0;
    const near = distances.map((distance) => distance <= limit);
    const used = sample.filter((_, index) => near[index]);
    if (used.length < 8 || near.every((value, index) => value === previous[index])) break;
    previous = near;
    plane = solveThree([0, 1, 2].map((row) => [0, 1, 2, 3].map((column) =>
      addUp(used.map(({terms, value}) => terms[row] * (column < 3 ? terms[column] : value))) +
      (row === column ? 1e-9 : 0))));
  }
  return values.map((_, index) =>
    plane[0] + plane[1] * coordinate(index % width, width) + plane[2] * coordinate(Math.floor(index / width), height));
}

/** Return the connected part of each pixel of a mask, 1 and up or 0 outside, by filling one part after the other. */
function labelParts({width, height, values}) {
  const labels = new Int32Array(values.length);
  let count = 0;
  for (let seed = 0; seed < values.length; seed++) {
    if (!values[seed] || labels[seed]) continue;
    count += 1;
    const open = [seed];
    labels[seed] = count;
    while (open.length) {
      const index = open.pop();
      const column = index % width;
      const beside = [column > 0 ? index - 1 : -1, column < width - 1 ? index + 1 : -1];
      for (const neighbour of [index - width, index + width, ...beside]) {
        if (!values[neighbour] || labels[neighbour]) continue; // undefined outside the image
        labels[neighbour] = count;
        open.push(neighbour);
      }
    }
  }
  return {labels, count};
}

/** Return the ink without dirt and other digits, and the number of digits side by side. */
function oneDigit(darkness) {
  const {width, height, values} = darkness;
  const {labels, count} = labelParts({width, height, values: values.map((value) => value >= INK_EDGE)});
  const masses = new Float64Array(count + 1);
  values.forEach((value, index) => { if (labels[index]) masses[labels[index]] += value; });
  const largest = maximumOf(masses);
  const kept = Uint8Array.from(labels, (label) => masses[label] >= 0.05 * largest && label > 0);
  const columnMass = new Float64Array(width);
  const isInked = new Uint8Array(width);
  kept.forEach((isKept, index) => {
    if (!isKept) return;
    columnMass[index % width] += values[index];
    isInked[index % width] = 1;
  });
  const groups = []; // runs of columns; gaps of up to a fortieth of the width are bridged
  isInked.forEach((inked, column) => {
    if (!inked) return;
    const last = groups.at(-1);
    if (last && column - last.stop <= Math.floor(width / 40)) last.stop = column + 1;
    else groups.push({start: column, stop: column + 1});
  });
  for (const group of groups) group.mass = addUp(columnMass.subarray(group.start, group.stop));
  const main = groups.reduce((best, group) => (group.mass > best.mass ? group : best));
  const digit = kept.map((isKept, index) => isKept && index % width >= main.start && index % width < main.stop);
  const border = grow({width, height, values: digit}).values; // soft borders of the ink
  return {
    darkness: mapPlane(darkness, (value, index) => value * border[index]),
    digitCount: groups.filter((group) => group.mass >= 0.25 * main.mass).length,
  };
}

/** Return the darkness of what is written on paper: {darkness, isDark}, or null if there is no ink. */
function inkOf(lightness) {
  const {width, height, values} = lightness;
  let paper = new Float64Array(values.length);
  let isDark = true;
  for (let round = 0; round < 2; round++) { // a second time in the light that the first time found
    const relative = values.map((value, index) => value - paper[index]);
    const threshold = otsuThreshold(relative);
    const isLight = relative.map((value) => value > threshold);
    let border = 0;
    for (let column = 0; column < width; column++) border += isLight[column] + isLight[(height - 1) * width + column];
    for (let row = 0; row < height; row++) border += isLight[row * width] + isLight[row * width + width - 1];
    isDark = meanOf(isLight) + border / (2 * (width + height)) > 1; // paper covers most of the image and its border
    paper = evenSurface(lightness, (index) => Boolean(isLight[index]) === isDark);
    if (maximumOf(paper) - smallestOf(paper) < MIN_CONTRAST / 2) break;
  }
  const meanPaper = meanOf(paper);
  const depth = values.map((value, index) => (isDark
    ? (paper[index] - value) * clip(meanPaper / Math.max(paper[index], 1), 0.5, 2) // more in the shade
    : value - paper[index]));
  const deepest = maximumOf(depth);
  const full = deepest > 0 ? quantile(depth.filter((value) => value >= deepest / 2), 0.75) : 0;
  const noise = noiseOf(lightness);
  if (full < Math.max(MIN_CONTRAST, 4 * noise)) return null;
  const floor = Math.min(0.4, (3 * noise) / full);
  return {isDark, darkness: mapPlane(lightness, (_, index) => clip((depth[index] / full - floor) / (1 - floor), 0, 1))};
}

/** Look for ink in a part of an image: {darkness, digitCount, isDark, part, box}, boxes as in resize, or null. */
function lookForInk(image, part) {
  const [width, height] = [part[2] - part[0], part[3] - part[1]];
  const factor = Math.min(1, VIEW_SIDE / Math.max(width, height));
  const size = [width, height].map((length) => Math.max(1, roundToEven(factor * length)));
  const ink = inkOf(mainContrast(shrink(image, ...size, part)));
  if (!ink) return null;
  const {darkness, digitCount} = oneDigit(ink.darkness);
  const [top, bottom, left, right] = boundsOf(darkness, INK_EDGE);
  const [x, y] = [width / darkness.width, height / darkness.height];
  const box = [part[0] + left * x, part[1] + top * y, part[0] + right * x, part[1] + bottom * y];
  return {darkness, digitCount, isDark: ink.isDark, part, box};
}

/** Look for the ink of a digit in an RGB image, and then closer, where strokes are wider; null if there is none. */
function findInk(image) {
  const sideOf = (box) => Math.max(box[2] - box[0], box[3] - box[1]);
  let view = lookForInk(image, [0, 0, image.width, image.height]);
  let digitCount = 0;
  for (let round = 0; round < MAX_VIEWS && view; round++) {
    digitCount = Math.max(digitCount, view.digitCount);
    const margin = Math.max(2, 0.15 * sideOf(view.box));
    const closer = [Math.max(0, view.box[0] - margin), Math.max(0, view.box[1] - margin),
      Math.min(image.width, view.box[2] + margin), Math.min(image.height, view.box[3] + margin)];
    if (sideOf(closer) > 0.8 * sideOf(view.part)) break;
    view = lookForInk(image, closer);
  }
  return view && {...view, digitCount};
}

/** Crop to the ink and scale it, aspect kept, to the height of the canvas, or to its width if it is wider. */
function fitInk(darkness) {
  const [top, bottom, left, right] = boundsOf(darkness, INK_EDGE);
  const factor = CANVAS_SIDE / Math.max(bottom - top, right - left);
  const [height, width] = [bottom - top, right - left].map((length) => Math.max(1, roundToEven(factor * length)));
  const image = {...darkness, channels: 1, values: Float32Array.from(darkness.values)};
  const scaled = resize(image, width, height, factor < 1 ? BOX_FILTER : BILINEAR, [left, top, right, bottom]);
  const canvas = new Float64Array(CANVAS_SIDE ** 2);
  const [y, x] = [Math.floor((CANVAS_SIDE - height) / 2), Math.floor((CANVAS_SIDE - width) / 2)];
  scaled.values.forEach((value, index) => {
    canvas[(y + Math.floor(index / width)) * CANVAS_SIDE + x + (index % width)] = clip(value, 0, 1);
  });
  return {width: CANVAS_SIDE, height: CANVAS_SIDE, values: canvas};
}

/** Make strokes thicker until they cover as much of the canvas as those of the training images. */
function thicken(canvas) {
  if (meanOf(canvas.values) >= MIN_INKED) return canvas;
  const threshold = 0.5 * quantile(canvas.values.filter((value) => value >= INK_EDGE), 0.9);
  let grown = mapPlane(canvas, (value) => (value > threshold ? 1 : 0));
  for (let round = 0; round < CELL && meanOf(grown.values) < MEAN_INKED; round++) grown = grow(grown);
  return grown;
}

/** Shift each row of the canvas sideways by shift(row) pixels. */
function shiftRows(canvas, shift) {
  return mapPlane(canvas, (_, index) => {
    const row = Math.floor(index / CANVAS_SIDE);
    const column = (index % CANVAS_SIDE) - shift(row);
    return column >= 0 && column < CANVAS_SIDE ? canvas.values[row * CANVAS_SIDE + column] : 0;
  });
}

/** Shift rows so that the leftmost pixels near the top and near the bottom of the digit are in one column. */
function shear(canvas) {
  const pixel = CANVAS_SIDE / 32; // of the forms' digits
  const [start, stop] = boundsOf(mapPlane(canvas, (value) => value > 0.5), 1);
  if (stop - 1 - start < 8 * pixel) return canvas;
  const [top, bottom] = [start + 2 * pixel, stop - 3 * pixel];
  const [first, last] = [top, bottom].map((row) => {
    const rows = canvas.values.subarray(row * CANVAS_SIDE, (row + pixel) * CANVAS_SIDE);
    return rows.reduce((left, value, index) => (value > 0.5 ? Math.min(left, index % CANVAS_SIDE) : left), Infinity);
  });
  if (first === Infinity || last === Infinity) return canvas;
  const slope = (first - last) / (bottom - top);
  return shiftRows(canvas, (row) => roundToEven((row - CANVAS_SIDE / 2) * slope));
}

/** Shift the canvas sideways so that its centre of mass is where that of the training images is. */
function centre(canvas) {
  const total = addUp(canvas.values);
  if (total === 0) return canvas;
  const moment = addUp(canvas.values.map((value, index) => value * ((index % CANVAS_SIDE) + 0.5)));
  const shift = roundToEven(MASS_CENTRE - moment / total);
  return shiftRows(canvas, () => shift);
}

/** Return the mean of each block of side × side pixels of the canvas. */
function blockMeans(canvas, side) {
  const count = CANVAS_SIDE / side;
  const means = new Float64Array(count ** 2);
  canvas.values.forEach((value, index) => {
    const [row, column] = [Math.floor(index / CANVAS_SIDE / side), Math.floor((index % CANVAS_SIDE) / side)];
    means[row * count + column] += value / side ** 2;
  });
  return {width: count, height: count, values: means};
}

/** Return the value at a row and a column, 0 outside. */
function valueAt({width, height, values}, row, column) {
  return row >= 0 && row < height && column >= 0 && column < width ? values[row * width + column] : 0;
}

/** Return the total variation of the canvas at 32×32 pixels relative to that at 8×8. */
function detailRatio(canvas) {
  const [fine, coarse] = [4, CELL].map((side) => {
    const blocks = blockMeans(canvas, side);
    let variation = 0;
    for (let row = 0; row <= blocks.height; row++) {
      for (let column = 0; column <= blocks.width; column++) {
        const value = valueAt(blocks, row, column);
        variation += Math.abs(value - valueAt(blocks, row - 1, column));
        variation += Math.abs(value - valueAt(blocks, row, column - 1));
      }
    }
    return variation;
  });
  return coarse ? fine / (4 * coarse) : 1;
}

/** Return the inked fraction of each cell; where edges are blurred, with some of the contrast given back. */
function inkedFractions(canvas) {
  const cells = blockMeans(canvas, CELL);
  const gray = addUp(canvas.values.map((value) => value * (1 - value)));
  if (gray < 0.1 * addUp(canvas.values)) return cells.values;
  return cells.values.map((value, index) => {
    const [row, column] = [Math.floor(index / DIGIT_SIZE), index % DIGIT_SIZE];
    const neighbours = (valueAt(cells, row - 1, column) + valueAt(cells, row + 1, column) +
      valueAt(cells, row, column - 1) + valueAt(cells, row, column + 1)) / 4;
    return clip(value + 0.25 * (value - neighbours), 0, 1);
  });
}

/**
 * Find the digit in an RGB image and bring it to the form of the built-in digits: {pixels: Uint8Array(64), the inked
 * fraction of each cell times 255; steps, what was done to the image; problem, why these may not be the pixels of one
 * digit, or null}.
 */
function readInk(image) {
  if (image.width === DIGIT_SIZE && image.height === DIGIT_SIZE) {
    const view = lookForInk(image, [0, 0, DIGIT_SIZE, DIGIT_SIZE]);
    const isInverted = Boolean(view && view.isDark);
    const pixels = toGray(image).values.map((level) => (isInverted ? 255 - level : level));
    return {pixels, steps: isInverted ? "inverted, 8×8 already" : "8×8 already", problem: view ? null : NO_INK};
  }
  const view = findInk(image);
  if (!view) return {pixels: new Uint8Array(DIGIT_SIZE ** 2), steps: "no ink found", problem: NO_INK};
  const [left, top, right, bottom] = view.box.map(roundToEven);
  const canvas = centre(shear(thicken(fitInk(view.darkness))));
  const touches = left <= 0 || top <= 0 || right >= image.width || bottom >= image.height;
  const steps = `${view.isDark ? "dark ink inverted" : "light ink"}, ${right - left}×${bottom - top} pixels at ` +
    `(${left}, ${top}) scaled to 8×8${touches ? "; it touches the border, so that a part may be missing" : ""}`;
  const pixels = Uint8Array.from(inkedFractions(canvas), (value) => roundToEven(255 * value));
  return {pixels, steps, problem: inkProblem(view.digitCount, detailRatio(canvas))};
}

function inkProblem(digitCount, detail) {
  if (digitCount > 1) return `${digitCount} marks are side by side, and the largest was read`;
  if (detail <= MAX_DETAIL) return null;
  return `it has ${detail.toFixed(2)} times the detail that 8×8 pixels hold, above ${MAX_DETAIL}`;
}
