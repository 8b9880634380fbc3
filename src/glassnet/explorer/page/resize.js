// Images brought to another size, to the level as Pillow does it, which has decoded the run's own images.
// Browsers resize by other filters. An image is {width, height, channels, values}; values, rows of pixels with their
// channels side by side, are a Uint8Array of levels 0..255, or a Float32Array.

/** The mean of the pixels below, for smaller images; the triangle between neighbouring pixels, for others. */
const BOX_FILTER = {reach: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)};
const BILINEAR = {reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x))};
const FIXED_POINT = 2 ** 22; // Pillow computes levels in integers, with this for 1

/** Round to the nearest integer, and halves to the even one, as Python and NumPy do. */
function roundToEven(x) {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Return for each new pixel of a line the first pixel that it is made of, and the weights of those from there on. */
function resizeWeights(length, start, stop, newLength, filter) {
  const scale = Math.fround(stop - start) / newLength;
  const stretch = Math.max(1, scale);
  const reach = filter.reach * stretch;
  return Array.from({length: newLength}, (_, index) => {
    const centre = start + (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(length, Math.trunc(centre + reach + 0.5));
    const weights = new Float64Array(end - first).map((_, tap) =>
      filter.weight((tap + first - centre + 0.5) * (1 / stretch)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return {first, weights: weights.map((weight) => weight / (total || 1))};
  });
}

/** Resize along one axis: values of shape (outer, length, inner) become (outer, newLength, inner). */
function resizeAxis(values, [outer, length, inner], start, stop, newLength, filter) {
  const result = new values.constructor(outer * newLength * inner);
  const areLevels = values instanceof Uint8Array;
  resizeWeights(length, start, stop, newLength, filter).forEach(({first, weights}, index) => {
    const taps = areLevels ? weights.map((weight) => Math.trunc(0.5 + weight * FIXED_POINT)) : weights;
    for (let line = 0; line < outer; line++) {
      for (let place = 0; place < inner; place++) {
        let sum = areLevels ? FIXED_POINT / 2 : 0;
        let from = (line * length + first) * inner + place;
        for (let tap = 0; tap < taps.length; tap++, from += inner) sum += taps[tap] * values[from];
        result[(line * newLength + index) * inner + place] = areLevels ? Math.floor(sum / FIXED_POINT) : sum;
      }
    }
  });
  return result;
}

/** Return the part of an image in box, [left, top, right, bottom], in another size: first rows, then columns. */
function resize(image, width, height, filter, box = [0, 0, image.width, image.height]) {
  const [left, top, right, bottom] = box.map(Math.fround);
  let {values} = image;
  if (width !== image.width || left !== 0 || right !== width) {
    values = resizeAxis(values, [image.height, image.width, image.channels], left, right, width, filter);
  }
  if (height !== image.height || top !== 0 || bottom !== height) {
    values = resizeAxis(values, [1, image.height, width * image.channels], top, bottom, height, filter);
  }
  return {width, height, channels: image.channels, values};
}

/** Return the mean level of each block of acrossBy × downBy pixels in a box of whole pixels. */
function reduceBlocks(image, acrossBy, downBy, [left, top, right, bottom]) {
  const {channels} = image;
  const [width, height] = [Math.ceil((right - left) / acrossBy), Math.ceil((bottom - top) / downBy)];
  const values = new Uint8Array(width * height * channels);
  for (let index = 0; index < values.length; index++) {
    const channel = index % channels;
    const x = left + (Math.floor(index / channels) % width) * acrossBy;
    const y = top + Math.floor(index / channels / width) * downBy;
    const [endX, endY] = [Math.min(x + acrossBy, right), Math.min(y + downBy, bottom)];
    const count = (endX - x) * (endY - y);
    let sum = Math.floor(count / 2);
    for (let row = y; row < endY; row++) {
      for (let column = x; column < endX; column++) {
        sum += image.values[(row * image.width + column) * channels + channel];
      }
    }
    values[index] = Math.floor((sum * Math.floor(Math.fround(2 ** 24 / count))) / 2 ** 24);
  }
  return {width, height, channels, values};
}

/** Return what resize does with the box filter; of a much larger image, the means of blocks are taken first. */
function shrink(image, width, height, box) {
  const [left, top, right, bottom] = box;
  const acrossBy = Math.trunc((right - left) / width / 3) || 1;
  const downBy = Math.trunc((bottom - top) / height / 3) || 1;
  if (acrossBy === 1 && downBy === 1) return resize(image, width, height, BOX_FILTER, box);
  const whole = [Math.trunc(left), Math.trunc(top), Math.ceil(right), Math.ceil(bottom)];
  const reduced = reduceBlocks(image, acrossBy, downBy, whole);
  const [dx, dy] = [whole[0], whole[1]];
  return resize(reduced, width, height, BOX_FILTER,
    [(left - dx) / acrossBy, (top - dy) / downBy, (right - dx) / acrossBy, (bottom - dy) / downBy]);
}

/**
 * Return an image in another size as the run's data was read: "crop" covers the size and cuts off around the middle,
 * "pad" adds black bars, "squash" changes the aspect ratio.
 */
function resizeToFit(image, width, height, fit) {
  const [across, down] = [width / image.width, height / image.height];
  if (fit === "crop") {
    const factor = Math.max(across, down);
    const [coverWidth, coverHeight] = [
      Math.max(width, roundToEven(image.width * factor)), Math.max(height, roundToEven(image.height * factor))];
    const [left, top] = [Math.floor((coverWidth - width) / 2), Math.floor((coverHeight - height) / 2)];
    const [x, y] = [image.width / coverWidth, image.height / coverHeight];
    return resize(image, width, height, BILINEAR, [
      left * x, top * y, Math.min(image.width, (left + width) * x), Math.min(image.height, (top + height) * y)]);
  }
  if (fit !== "pad") return resize(image, width, height, BILINEAR);
  const factor = Math.min(across, down);
  const innerWidth = Math.max(1, Math.min(width, roundToEven(image.width * factor)));
  const innerHeight = Math.max(1, Math.min(height, roundToEven(image.height * factor)));
  const inner = resize(image, innerWidth, innerHeight, BILINEAR);
  const [left, top] = [Math.floor((width - innerWidth) / 2), Math.floor((height - innerHeight) / 2)];
  const values = new Uint8Array(width * height * image.channels);
  for (let row = 0; row < innerHeight; row++) {
    const line = inner.values.subarray(row * innerWidth * image.channels, (row + 1) * innerWidth * image.channels);
    values.set(line, ((top + row) * width + left) * image.channels);
  }
  return {width, height, channels: image.channels, values};
}

/** Return an RGB image as gray levels, one channel. */
function toGray({width, height, values}) {
  const gray = new Uint8Array(width * height).map((_, pixel) => {
    const [red, green, blue] = values.subarray(3 * pixel, 3 * pixel + 3);
    return Math.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536);
  });
  return {width, height, channels: 1, values: gray};
}

/** Return the RGB image that an ImageData (red, green, blue, opacity) shows on paper of one level. */
function onPaper({width, height, data}, level) {
  const values = new Uint8Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const opacity = data[4 * pixel + 3] / 255;
    for (let channel = 0; channel < 3; channel++) {
      values[3 * pixel + channel] = Math.round(opacity * data[4 * pixel + channel] + (1 - opacity) * level);
    }
  }
  return {width, height, channels: 3, values};
}
