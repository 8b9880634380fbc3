"use strict";
// Why this number: the products that it is the sum of, forward, and what the loss makes of it, backward.

/**
 * Each kind of layer computes numbers y = Σ factor · x + constant from numbers x of its input. `reads` are the terms of one
 * y: {index of x, factor, weight: its index in the layer's weight}; `readers` are the terms of which one x is a part:
 * {index of y, factor, weight}. Backward the same factors carry gradients: dx = Σ factor · dy.
 */
const KINDS = {
  Conv2d: {
    sentence: "A window of the input times a kernel, number by number; all products are added, and the bias.",
    equation: "y = Σ window · kernel + bias",
    reads: (step, index) => windowReads(step, index, range(step.node.attributes.in_channels)),
    readers: (step, index) => windowReaders(step, index, range(step.node.attributes.out_channels)),
  },
  Linear: {
    sentence: "Every number of the input times its own weight; all products are added, and the bias.",
    equation: "y = Σ weight · x + bias",
    reads: (step, index) => range(step.node.attributes.in_features).map((input) => linearTerm(step, index, input, input)),
    readers: (step, index) => range(step.node.attributes.out_features).map((output) => linearTerm(step, output, index, output)),
  },
  BatchNorm2d: {
    sentence: "The channel's running mean is subtracted, its standard deviation divides, weight and bias stretch and shift.",
    equation: "y = weight · (x − mean) / √(variance + ε) + bias",
    reads: (step, index) => [{ index, factor: normalizationOf(step, index).factor }],
  },
  ReLU: {
    sentence: "A negative number becomes 0; any other number stays what it is.",
    equation: "y = max(0, x)",
    reads: (step, index) => [{ index, factor: tensor(step.inputs[0])[index] > 0 ? 1 : 0 }],
  },
  MaxPool2d: {
    sentence: "The largest number of a window.",
    equation: "y = max(window)",
    reads: (step, index) => largestInWindow(step, windowReads(step, index)),
    readers: (step, index) => windowReaders(step, index).map((term) => ({ ...term,
      factor: largestInWindow(step, windowReads(step, term.index)).find((read) => read.index === index).factor })),
  },
  AvgPool2d: {
    sentence: "The mean of a window.",
    equation: "y = Σ window / count",
    reads: (step, index) => windowReads(step, index),
    readers: (step, index) => windowReaders(step, index),
  },
  AdaptiveAvgPool2d: {
    sentence: "The mean of the whole map.",
    equation: "y = Σ map / count",
    reads: (step, index) => range(mapSize(step)).map((place) => ({ index: index * mapSize(step) + place, factor: 1 / mapSize(step) })),
    readers: (step, index) => [{ index: Math.floor(index / mapSize(step)), factor: 1 / mapSize(step) }],
  },
  ZeroPadShortcut: {
    sentence: "Every second pixel of the block's input; the channels that the body adds are 0.",
    equation: "y = x, or 0",
    reads: (step, index) => paddedReads(step, index),
    readers: (step, index) => paddedReaders(step, index),
  },
  Sum: {
    sentence: "The block's addition: what came through the shortcut, x, and what the body made of x, F(x).",
    equation: "y = x + F(x)",
    reads: (step, index) => [{ index, factor: 1 }],
  },
  Flatten: { sentence: "The same number: all maps in one row, channel after channel.", equation: "y = x" },
  Identity: { sentence: "The same number: the shortcut changes nothing.", equation: "y = x" },
  Dropout: { sentence: "The same number: dropout acts in training only.", equation: "y = x" },
  Input: { sentence: "The pixel, normalized by the mean and the standard deviation of the training images.", equation: "x = (pixel / scale − mean) / deviation" },
};
const SAME = (step, index) => [{ index, factor: 1 }];
for (const kind of Object.values(KINDS)) {
  kind.reads ??= SAME;
  kind.readers ??= kind.reads;  // number for number
}

const range = (count) => Array.from({ length: count }, (_, index) => index);
const mapSize = (step) => product(step.node.input_shape.slice(1));

/** The values of the first image of a tensor, whatever the page shows. */
const tensor = (name, image = 0) => valuesOf(name, { trace: store.state.trace }, image);
const gradientOf = (name, image = 0) => valuesOf(name, { trace: store.state.trace, direction: "gradient" }, image);

const isMuted = (name, index) =>
  Boolean(store.state.edits.muted.get(name)?.has(placeOf(index, stepOf(name).shape)[0]));

/** The numbers under the window of output `index`; a convolution reads all `channels`, pooling its own. */
function windowReads(step, index, channels = null) {
  const { node: { attributes, input_shape: [, height, width] }, shape } = step;
  const [channel, row, column] = placeOf(index, shape), { kernel_size: size, stride, padding } = attributes, terms = [];
  for (const [input, source] of channels ? channels.entries() : [[0, channel]]) {
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      const up = row * stride - padding + y, left = column * stride - padding + x;
      if (up < 0 || left < 0 || up >= height || left >= width) continue;  // the border counts as 0
      const weight = channels && ((channel * channels.length + input) * size + y) * size + x;
      const factor = channels ? weightValues(`${step.name}.weight`)[weight] : 1 / size ** 2;
      terms.push({ index: (source * height + up) * width + left, factor, weight, at: y * size + x, channel: source });
    }
  }
  return terms;
}

/** The outputs whose windows have input `index` in them. */
function windowReaders(step, index, channels = null) {
  const { node: { attributes, input_shape }, shape: [, height, width] } = step;
  const [channel, row, column] = placeOf(index, input_shape), { kernel_size: size, stride, padding } = attributes, terms = [];
  for (const output of channels ?? [channel]) {
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      const up = (row + padding - y) / stride, left = (column + padding - x) / stride;
      if (!Number.isInteger(up) || !Number.isInteger(left) || up < 0 || left < 0 || up >= height || left >= width) continue;
      const weight = channels && ((output * input_shape[0] + channel) * size + y) * size + x;
      const factor = channels ? weightValues(`${step.name}.weight`)[weight] : 1 / size ** 2;
      terms.push({ index: (output * height + up) * width + left, factor, weight });
    }
  }
  return terms;
}

function linearTerm({ name, node }, output, input, index) {
  const weight = output * node.attributes.in_features + input;
  return { index, factor: weightValues(`${name}.weight`)[weight], weight };
}

/** The first of the largest numbers has the factor 1, the others 0. */
function largestInWindow(step, terms) {
  const values = tensor(step.inputs[0]);
  const largest = terms.reduce((best, term) => values[term.index] > values[best.index] ? term : best);
  return terms.map((term) => ({ ...term, factor: term === largest ? 1 : 0 }));
}

function paddedReads({ node, shape }, index) {
  const [channel, row, column] = placeOf(index, shape), [channels, height, width] = node.input_shape;
  const source = channel - Math.floor((shape[0] - channels) / 2), { stride } = node.attributes;
  return source < 0 || source >= channels ? [] :
    [{ index: (source * height + row * stride) * width + column * stride, factor: 1 }];
}

function paddedReaders({ node, shape: [channels, height, width] }, index) {
  const [channel, row, column] = placeOf(index, node.input_shape), { stride } = node.attributes;
  if (row % stride || column % stride) return [];
  const output = channel + Math.floor((channels - node.input_shape[0]) / 2);
  return [{ index: (output * height + row / stride) * width + column / stride, factor: 1 }];
}

/** BatchNorm's numbers for the channel of a number. */
function normalizationOf({ name, node, shape }, index) {
  const [channel] = placeOf(index, shape), of = (key) => weightValues(`${name}.${key}`)[channel];
  const [mean, variance, weight, bias] = ["running_mean", "running_var", "weight", "bias"].map(of);
  const deviation = Math.sqrt(variance + node.attributes.eps);
  return { mean, variance, deviation, weight, bias, factor: weight / deviation };
}

/** What is added to the products: a bias. */
function constantOf(step, index) {
  const [channel] = step.shape.length === 3 ? placeOf(index, step.shape) : [index];
  return store.state.weights[`${step.name}.bias`] ? weightValues(`${step.name}.bias`)[channel] : null;
}

/** A number of the network that leads to itself. */
function NumberLink({ name, index }) {
  return html`<button class="link number" onClick=${() => chooseNumber(name, index)}>${nameOf(name, index)}</button>`;
}

/**
 * Terms of a sum, the largest first, as bars around 0; those after the first are one row until they are opened.
 *
 * A term is {label, text, value, colour}; label and text may be functions, called only for terms that are shown.
 */
function Terms({ terms, first = 6 }) {
  const [isOpen, open] = useState(false), shownOf = (part) => typeof part === "function" ? part() : part;
  const sorted = [...terms].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const count = isOpen ? 200 : terms.length <= first + 2 ? terms.length : first, rest = sorted.slice(count);
  const limit = Math.abs(sorted[0]?.value) || 1;
  const bar = (value, colour) => html`<i class="bar" aria-hidden="true"><b style=${`width: ${50 * Math.abs(value) / limit}%; ${
    value < 0 ? "right" : "left"}: 50%; background: var(--${colour ?? (value < 0 ? "diverging-0" : "diverging-4")})`}></b></i>`;
  return html`<table class="terms"><tbody>${sorted.slice(0, count).map(({ label, text, value, colour }, row) => html`<tr key=${row}>
      <th scope="row">${shownOf(label)}</th><td>${shownOf(text)}</td><td>${bar(value, colour)}</td>
      <td class="number">${formatNumber(value)}</td></tr>`)}
    ${rest.length > 0 && html`<tr><th scope="row" colspan="3"><button class="link" onClick=${() => open(true)}
      disabled=${isOpen}>${rest.length} smaller ones</button></th><td class="number">${formatNumber(totalOf(rest))}</td></tr>`}
    </tbody></table>`;
}

const totalOf = (terms) => terms.reduce((sum, { value }) => sum + value, 0);
const times = (one, other) => html`<span class="number">${formatNumber(one, 3)} × ${formatNumber(other, 3)}</span>`;

/** The sum on screen and the engine's own number, which must agree. */
function SumCheck({ parts, engine }) {
  const sum = totalOf(parts), difference = Math.abs(sum - engine), agrees = difference <= 1e-9 * Math.max(1, Math.abs(engine));
  return html`<div class="sum">${parts.length > 1 && html`<p class="number">${parts.map(({ label, value }, index) => html`${
      index > 0 && " + "}<span class="part"><small>${label}</small>${formatNumber(value)}</span>`)}</p>`}
    <p><span class="number">= <output class="total" data-value=${sum}>${formatNumber(sum, 8)}</output></span>
    <span class="quiet">${agrees ? "✓ The engine computed" : "✗ The engine computed"} <span class="number">${
      formatNumber(engine, 8)}</span>; difference ${formatNumber(difference, 2)}</span></p></div>`;
}

/** Window × kernel = products of a convolution, for the input channel whose sum is largest or that the reader chooses. */
function KernelProducts({ step, index, terms }) {
  const [source] = step.inputs, { kernel_size: size, in_channels: count, stride, padding } = step.node.attributes;
  const [output, row, column] = placeOf(index, step.shape), values = tensor(source), kernel = weightValues(`${step.name}.weight`);
  const sums = new Float64Array(count);
  for (const term of terms) sums[term.channel] += values[term.index] * term.factor;
  const order = range(count).sort((one, other) => Math.abs(sums[other]) - Math.abs(sums[one]));
  const [chosen, choose] = useState(null), input = chosen ?? order[0], cells = range(size * size);
  const window = new Float64Array(size * size), start = (output * count + input) * size * size;
  for (const term of terms) if (term.channel === input) window[term.at] = values[term.index];
  const weights = kernel.subarray(start, start + size * size), products = Float64Array.from(cells, (at) => window[at] * weights[at]);
  const [, height, width] = step.node.input_shape, up = row * stride - padding, left = column * stride - padding;
  const map = (title, label, numbers, onPick) => html`<div><h4>${title}</h4><${NumberMap} shape=${[size, size]} minCell=${32}
    ...${{ label, onPick }} values=${numbers} maxCell=${42} /></div>`;
  const go = ([, y, x]) => up + y >= 0 && left + x >= 0 && up + y < height && left + x < width &&
    chooseNumber(source, (input * height + up + y) * width + left + x);
  return html`<h3>${count > 1 ? html`Input channel ${input} of ${count}: <span class="number">${formatNumber(sums[input])}</span>` :
      "The window, the kernel and their products"}</h3>
    <div class="products">${map("window", `window of ${source}; choose a number to follow it back`, window, go)}<span>×</span>
      ${map("kernel", `kernel of ${step.name}; choose a weight`, weights, ([, y, x]) =>
        store.set({ weight: { key: `${step.name}.weight`, index: start + y * size + x } }))}<span>=</span>
      ${map("products", "products", products)}</div>
    ${count > 1 && html`<h3>The sums of all input channels</h3><${Terms} terms=${order.map((channel) => ({ value: sums[channel],
      label: html`<button class="link" aria-pressed=${channel === input} onClick=${() => choose(channel)}>channel ${channel}</button>`,
    }))} />`}`;
}

/** How the chosen number was computed. */
function Forward({ step, index }) {
  const { name, kind, inputs: [source] } = step, engine = tensor(name)[index];
  if (isMuted(name, index)) return html`<p>This channel is muted: its numbers are 0.</p>`;
  if (kind === "Input") return html`<${InputNumber} index=${index} />`;
  if (kind === "BatchNorm2d") return html`<${Normalized} step=${step} index=${index} />`;
  if (kind === "Sum") return html`<${BlockSum} step=${step} index=${index} />`;
  const values = tensor(source), terms = KINDS[kind].reads(step, index), constant = constantOf(step, index);
  const products = terms.map((term) => ({ value: values[term.index] * term.factor,
    label: () => html`<${NumberLink} name=${source} index=${term.index} />`, text: () => times(values[term.index], term.factor) }));
  const total = { label: `${terms.length} products`, value: totalOf(products) };
  return html`${kind === "Conv2d" ? html`<${KernelProducts} key=${name} ...${{ step, index, terms }} />` :
      terms.length ? html`<${Terms} terms=${products} />` : html`<p>This channel is filled with 0.</p>`}
    <${SumCheck} engine=${engine} parts=${constant === null ? [total] : [total, { label: "bias", value: constant }]} />`;
}

function InputNumber({ index }) {
  const { image, config: { normalization: { scale, mean, std } } } = store.state, pixel = image.tensor.data[index];
  const [channel] = placeOf(index, stepOf("input").shape), value = (pixel / scale - mean[channel]) / std[channel];
  return html`<p class="number">(${formatNumber(pixel)} / ${formatNumber(scale)} − ${formatNumber(mean[channel])}) / ${
    formatNumber(std[channel])}</p><${SumCheck} engine=${tensor("input")[index]} parts=${[{ value }]} />`;
}

function Normalized({ step, index }) {
  const { mean, variance, deviation, weight, bias } = normalizationOf(step, index), [source] = step.inputs, x = tensor(source)[index];
  const rows = [["x", x, html`<${NumberLink} name=${source} index=${index} />`], ["mean", mean, "of the channel, running"],
    ["√(variance + ε)", deviation, `variance ${formatNumber(variance)}`], ["weight", weight, "learned, γ"], ["bias", bias, "learned, β"]];
  return html`<table class="terms"><tbody>${rows.map(([label, value, note]) => html`<tr key=${label}><th scope="row">${label}</th>
      <td class="quiet">${note}</td><td class="number">${formatNumber(value)}</td></tr>`)}</tbody></table>
    <p class="number">${formatNumber(weight)} × (${formatNumber(x)} − ${formatNumber(mean)}) / ${formatNumber(deviation)}</p>
    <${SumCheck} engine=${tensor(step.name)[index]} parts=${[{ label: "weight × normalized", value: weight * (x - mean) / deviation },
      { label: "bias", value: bias }]} />`;
}

function BlockSum({ step, index }) {
  const [shortcut, body] = step.inputs, isOff = store.state.edits.skipsOff.has(step.block);
  const parts = [{ label: "x through the shortcut", name: shortcut, value: isOff ? 0 : tensor(shortcut)[index], colour: "accent" },
    { label: "F(x) through the body", name: body, value: tensor(body)[index], colour: "second" }];
  return html`${isOff && html`<p>The skip connection of ${step.block} is off: nothing comes through the shortcut.</p>`}
    <${Terms} terms=${parts.map((part) => ({ ...part, text: html`<${NumberLink} name=${part.name} index=${index} />` }))} />
    <${SumCheck} engine=${tensor(step.name)[index]} parts=${parts} />`;
}

/** What the layers that read a number hand back to it: [{title, colour, terms}] of each layer. */
function arrivals(name, index) {
  return flowOf(store.state.graph).filter(({ inputs }) => inputs.includes(name)).map((reader) => {
    const gradients = gradientOf(reader.name), isOff = store.state.edits.skipsOff.has(reader.block);
    const isEntry = stepOf(name).block !== reader.block && reader.block, colour = { shortcut: "accent", body: "second" }[reader.lane];
    const terms = isOff && reader.kind === "Sum" && name === reader.inputs[0] ? [] : KINDS[reader.kind].readers(reader, index);
    return { title: isEntry ? { shortcut: "g through the shortcut", body: "F′(g) through the body" }[reader.lane] : `from ${reader.name}`,
      block: isEntry && reader.block, colour: isEntry ? colour : undefined,
      terms: terms.filter((term) => !isMuted(reader.name, term.index)).map((term) => ({
        value: gradients[term.index] * term.factor, colour: isEntry ? colour : undefined,
        label: () => html`<${NumberLink} name=${reader.name} index=${term.index} />`,
        text: () => times(gradients[term.index], term.factor) })) };
  });
}

/** What the loss makes of the chosen number: what arrives there, and what it hands back. */
function Backward({ step, index }) {
  const { name, inputs: [source] } = step, { trace, image } = store.state, gradient = gradientOf(name)[index];
  if (!trace.outputGradients) return html`<p>There are no gradients without a label.</p>`;
  const groups = arrivals(name, index), paths = groups.length === 2 && trace.pathGradients[groups[0].block];
  const reads = source && !isMuted(name, index) ? KINDS[step.kind].reads(step, index) : [];
  const leaving = (from) => reads.map((term) => ({ value: gradient * term.factor, text: () => times(gradient, term.factor),
    label: () => html`<${NumberLink} name=${from} index=${term.index} />` }));
  const change = Math.abs(gradient) < 1e-12 ? "the loss would stay the same" :
    `the loss would ${gradient > 0 ? "grow" : "fall"} by about ${formatNumber(Math.abs(gradient) / 100, 2)}`;
  return html`<p>If this number were 0.01 larger, ${change}.</p>
    <h3>What arrives here</h3>
    ${groups.length === 0 && html`<${LogitGradient} index=${index} />`}
    ${groups.map(({ title, terms }) => html`<div key=${title}><h4>${title}</h4><${Terms} terms=${terms} first=${4} /></div>`)}
    ${groups.length > 0 && html`<${SumCheck} engine=${gradient} parts=${groups.map(({ title, terms }) => ({ label: title, value: totalOf(terms) }))} />`}
    ${paths && html`<${PathMaps} ...${{ step, index, paths }} />`}
    ${reads.length > 0 && html`<h3>What leaves to the input</h3>
      ${step.inputs.map((from) => html`<${Terms} key=${from} terms=${leaving(from)} first=${4} />`)}`}
    ${source && html`<${WeightGradient} key=${name} step=${step} index=${index} />`}`;
}

/** The gradient of a logit: where backward begins. */
function LogitGradient({ index }) {
  const { trace, config } = store.state, target = traceLabel(), count = trace.outputs.input.shape[0];
  const parts = [{ label: `probability of ${config.classes[index]}`, value: trace.probabilities[index] / count },
    { label: index === target ? "the label" : "not the label", value: index === target ? -1 / count : 0 }];
  return html`<p>Backward begins here: the gradient of a logit is its probability, less 1 for the label${
    count > 1 && `, divided by ${count} images`}.</p><${SumCheck} engine=${gradientOf(stepOf(store.state.layer).name)[index]} parts=${parts} />`;
}

/** A block's gradient as two maps: what reaches its input through the shortcut, and through the body. */
function PathMaps({ step, index, paths }) {
  const [channels, height, width] = mapShape(step.shape), size = height * width, [channel, ...pixel] = placeOf(index, step.shape);
  const part = (values) => values ? values.subarray(channel * size, (channel + 1) * size) : new Float64Array(size);
  const maps = [["g through the shortcut", paths.shortcut, "accent"], ["F′(g) through the body", paths.body, "second"],
    ["g + F′(g)", gradientOf(step.name)]], limit = Math.max(...maps.map(([, values]) => limitOf(part(values))));
  const norms = maps.slice(0, 2).map(([title, values, colour]) => ({ label: title, colour,
    value: values ? normOf(values.subarray(0, channels * size)) : 0 }));
  return html`<h3>Channel ${channel} of the gradient, by its two paths</h3><div class="products">${maps.map(([title, values, colour]) => html`
      <div key=${title}><h4 class=${colour}>${title}</h4><${NumberMap} label="${title}, channel ${channel}" values=${part(values)} limit=${limit}
      shape=${[height, width]} selected=${[0, ...pixel]} maxCell=${Math.max(2, Math.floor(112 / width))} /></div>`)}</div>
    <h4>Size of the whole gradient on each path (square root of the sum of squares)</h4><${Terms} terms=${norms} />`;
}

/** The gradient of a weight or a bias as a sum over positions and images: [{value, image, at, g, x}]. */
function weightTerms(step, key, weight) {
  const isBias = key.endsWith(".bias"), { kind, inputs: [source], shape, node } = step, terms = [];
  const count = store.state.trace.outputs.input.shape[0], [, height, width] = mapShape(shape), outputs = height * width;
  const weightShape = store.state.weights[key].shape, perOutput = product(weightShape.slice(1)), output = Math.floor(weight / perOutput);
  for (let image = 0; image < count; image++) {
    const gradients = gradientOf(step.name, image), values = tensor(source, image);
    const add = (at, x) => terms.push({ value: gradients[at] * x, image, at, g: gradients[at], x });
    if (kind === "Linear") add(output, isBias ? 1 : values[weight % perOutput]);
    else for (let at = output * outputs; at < (output + 1) * outputs; at++) {
      if (isBias) add(at, 1);
      else if (kind === "BatchNorm2d") add(at, (values[at] - normalizationOf(step, at).mean) / normalizationOf(step, at).deviation);
      else {
        const [, row, column] = placeOf(at, shape), { kernel_size: size, stride, padding } = node.attributes;
        const [input, y, x] = [Math.floor(weight / size ** 2) % weightShape[1], Math.floor(weight / size) % size, weight % size];
        const up = row * stride - padding + y, left = column * stride - padding + x, [, high, wide] = node.input_shape;
        if (up >= 0 && left >= 0 && up < high && left < wide) add(at, values[(input * high + up) * wide + left]);
      }
    }
  }
  return terms;
}

/** The gradients of a layer's weights for the chosen output, and one of them as the sum that it is. */
function WeightGradient({ step, index }) {
  const { weight, trace, weights } = useStore("weight", "trace"), { name, shape } = step;
  const keys = Object.keys(step.node?.parameters ?? {}), output = shape.length === 3 ? placeOf(index, shape)[0] : index;
  if (!keys.length) return null;
  const key = keys.includes(weight?.key) ? weight.key : keys[0], sizes = weights[key].shape, count = product(sizes.slice(1));
  const gradients = trace.gradients[key], start = sizes.length > 1 ? output * count : 0;
  const values = gradients.subarray(start, sizes.length > 1 ? start + count : sizes[0]);
  const inside = weight?.key === key && weight.index >= start && weight.index < start + values.length;
  const largest = values.reduce((best, value, at) => Math.abs(value) > Math.abs(values[best]) ? at : best, 0);
  const local = inside ? weight.index - start : sizes.length > 1 ? largest : output, chosen = start + local;
  const mapped = sizes.length === 4 ? sizes.slice(1) : mapShape([values.length]), terms = weightTerms(step, key, chosen);
  const images = trace.outputs.input.shape[0], label = `${key}[${placeOf(local, mapped.length === 3 ? mapped : [local]).join(", ")}]`;
  return html`<h3>The gradient of a weight</h3>
    <div class="row">${keys.length > 1 && html`<${Choice} label="Parameter" value=${key} onChange=${(value) => store.set({ weight: { key: value, index: output } })}
      options=${keys.map((value) => ({ value, title: value.slice(name.length + 1) }))} />`}<${BatchChoice} /></div>
    <${NumberMap} label="gradients of ${key}; choose one" values=${values} shape=${mapped} maxCell=${14} maxHeight=${160} minCell=${5}
      selected=${placeOf(local, mapped)} onPick=${([input, y, x]) =>
        store.set({ weight: { key, index: start + (input * mapped[1] + y) * mapped[2] + x } })} />
    <p><strong class="number">${label}</strong>: gradient × input, added over ${terms.length} ${images > 1 ? "positions and images" : "positions"}.</p>
    <${Terms} key=${`${key} ${chosen}`} first=${5} terms=${terms.map(({ value, image, at, g, x }) => ({ value, text: () => times(g, x), label: () =>
      html`${images > 1 && `image ${image}, `}${image === 0 ? html`<${NumberLink} name=${name} index=${at} />` : nameOf(name, at)}` }))} />
    <${SumCheck} engine=${gradients[chosen]} parts=${[{ label: "", value: totalOf(terms) }]} />`;
}

/** Over how many images the loss is taken: the chosen one, or more of the test images with it. */
function BatchChoice() {
  const { batch, config: { data } } = useStore("batch"), more = Math.min(15, data.n_test - 1);
  return more > 0 && html`<${Choice} label="Loss of" value=${batch.length} onChange=${(count) =>
    store.set({ batch: range(count).map((place) => dataImage("test", place + 1)) })}
    options=${[{ value: 0, title: "this image" }, { value: more, title: `${more + 1} images, mean` }]} />`;
}

/** Why the number that is chosen, or under the mouse, is what it is. */
function WhyThisNumber() {
  const state = useStore("layer", "channel", "pixel", "hover", "direction", "trace", "weights", "changedWeights", "edits");
  const { layer, index } = state.hover ?? { layer: state.layer, index: chosenNumber(state) }, step = stepOf(layer);
  const isGradient = state.direction === "gradient", { sentence, equation } = KINDS[step.kind];
  const Explanation = isGradient ? Backward : Forward;
  return html`<section class="why" aria-labelledby="why-title"><h2 id="why-title">Why is <span class="number">${
      isGradient ? "∂loss / ∂" : ""}${nameOf(layer, index)} = ${formatNumber(valuesOf(layer)[index])}</span>?</h2>
    ${!isGradient && html`<p>${sentence} <span class="equation">${equation}</span></p>`}
    <${Explanation} key=${isGradient} ...${{ step, index }} /></section>`;
}

/** Why one class and not another: the difference of their logits as terms of the linear layer. */
function Look() {
  const { trace, config: { classes }, graph } = useStore("trace", "config", "graph"), [pair, setPair] = useState([null, null]);
  const last = flowOf(graph).at(-1), logits = tensor(last.name), order = [...logits.keys()].sort((one, other) => logits[other] - logits[one]);
  const first = pair[0] ?? order[0], second = pair[1] ?? order.find((place) => place !== first);
  const inputs = tensor(last.inputs[0]), count = inputs.length, weights = weightValues(`${last.name}.weight`);
  const terms = [...inputs].map((x, input) => ({ x, factor: weights[first * count + input] - weights[second * count + input] }));
  const bias = weightValues(`${last.name}.bias`), maps = flowOf(graph).findLast(({ shape }) => shape.length === 3), [channels, height, width] = maps.shape;
  const isFlat = count === channels * height * width && height * width > 1, size = count / channels, places = new Float64Array(size);
  const byChannel = range(channels).map((channel) => ({ label: html`<button class="link" onClick=${() => store.set({ layer: maps.name, channel })}>${maps.name}, channel ${channel}</button>`,
    value: totalOf(terms.slice(channel * size, (channel + 1) * size).map(({ x, factor }) => ({ value: x * factor }))) }));
  terms.forEach(({ x, factor }, input) => { places[input % size] += x * factor; });
  const pick = (position) => (event) => setPair(pair.map((value, at) => at === position ? Number(event.target.value) : value));
  const select = (position, value) => html`<select aria-label=${position ? "the other class" : "the class"} onChange=${pick(position)}>${classes.map((title, place) =>
    html`<option value=${place} selected=${place === value}>${title}</option>`)}</select>`;
  return html`<h2>Why ${select(0, first)} and not ${select(1, second)}?</h2>
    <p>The class with the larger logit wins. The difference of the two logits is a sum: every input of the last layer times the
    difference of its two weights. Largest first:</p>
    <div class="row top"><div class="grow"><${Terms} terms=${byChannel} first=${4} /></div>${isFlat && html`<div><h4>Summed by place</h4><${NumberMap}
      label="What each place of ${maps.name} adds to the difference" values=${places} shape=${[height, width]} maxCell=${36} minCell=${4} maxHeight=${150} /></div>`}</div>
    <${SumCheck} engine=${logits[first] - logits[second]} parts=${[{ label: "all terms", value: totalOf(byChannel) },
      { label: "difference of the biases", value: bias[first] - bias[second] }]} />`;
}

PANELS.push({ key: "look", title: "Look", component: Look });
