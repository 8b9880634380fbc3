"use strict";
// Why this number: the terms that it is the sum of, forward; what arrives at it from the loss and leaves, backward.

/** A number of the network by name; it leads there. Of a flattened number the place in its map is shown too. */
function NumberLink({name, index}) {
  const {shape, kind} = stepOf(name), isFlat = shape.length === 1 && kind !== "Linear";
  return html`<button class="link number" onClick=${() => chooseNumber(name, index)}>${nameOf(name, index)}</button>${
    isFlat && html` <small>= ${nameOf(shownFlow().findLast((step) => step.shape.length === 3).name, index)}</small>`}`;
}

/** Terms of a sum as a table of bars around 0. */
function Terms({terms, first = 6}) {
  return html`<table class="terms"><${TermRows} ...${{terms, first, limit: limitOfTerms(terms)}} /></table>`;
}

/** The largest size of the terms' values, never 0. */
const limitOfTerms = (terms) => limitOf(terms.map(({value}) => value));

/**
 * Rows of terms, the largest first; those after the first are one row until they are opened. `limit` is a full bar.
 *
 * A term is {label, text, value, colour}; label and text are functions, called only for terms that are shown.
 */
function TermRows({title, terms, first, limit}) {
  const [isOpen, open] = useState(false);
  const sorted = [...terms].sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
  const count = isOpen ? 200 : terms.length <= first + 2 ? terms.length : first, rest = sorted.slice(count);
  const bar = (value, colour = value < 0 ? "diverging-0" : "diverging-4") => html`<b style=${`
    background: var(--${colour}); width: ${50 * Math.abs(value) / limit}%; ${value < 0 ? "right" : "left"}: 50%`}></b>`;
  return html`<tbody>${title && html`<tr><th scope="rowgroup" colspan="3"><h4>${title}</h4></th></tr>`}
    ${sorted.slice(0, count).map(({label, text, value, colour}, row) => html`
    <tr key=${row}><th scope="row">${label()} <span class="factors">${text?.()}</span></th>
      <td><i class="bar">${bar(value, colour)}</i></td><td class="number">${formatNumber(value)}</td></tr>`)}
    ${rest.length > 0 && html`<tr><th scope="row" colspan="2"><button class="link" disabled=${isOpen}
      onClick=${() => open(true)}>${rest.length} smaller ones</button></th>
      <td class="number">${formatNumber(sumOfTerms(rest))}</td></tr>`}</tbody>`;
}

const times = (one, other) => html`<span class="number">${formatNumber(one, 3)} × ${formatNumber(other, 3)}</span>`;

/** Numbers of one tensor times factors, as terms: reads or readers {index, factor} become products. */
function productTerms(name, values, factors) {
  return factors.map(({index, factor}) => ({value: values[index] * factor, text: () => times(values[index], factor),
    label: () => html`<${NumberLink} ...${{name, index}} />`}));
}

/** The sum on screen and the engine's own number, which must agree. Parts are {label, value}. */
function SumCheck({parts, engine}) {
  const sum = sumOfTerms(parts), difference = Math.abs(sum - engine);
  const agrees = difference <= 1e-9 * Math.max(1, Math.abs(engine));
  const shown = parts.map(({label, value}, place) => html`
    ${place > 0 && html`<span>+</span>`}<span><small>${label}</small>${formatNumber(value)}</span>`);
  return html`<div class="sum">${parts.length > 1 && html`<p class="number parts">${shown}</p>`}
    <p class="number">= <output class="total" data-value=${sum}>${formatNumber(sum, 8)}</output></p>
    <p class="quiet">${agrees ? "✓" : "✗"} the engine computed <span class="number">${formatNumber(engine, 8)}</span>,
      a difference of <span class="number">${formatNumber(difference, 2)}</span></p></div>`;
}

/** How the chosen number was computed. */
function Forward({step, index}) {
  const {name, kind, inputs: [source]} = step, engine = tensor(name)[index];
  if (isMuted(name, index)) return html`<p>This channel is muted: its numbers are 0.</p>`;
  if (kind === "Input") return html`<${Normalized} ...${{index, engine}} />`;
  if (kind === "BatchNorm2d") return html`<${BatchNormalized} ...${{step, index, engine}} />`;
  if (kind === "Sum") return html`<${BlockSum} ...${{step, index, engine}} />`;
  const reads = KINDS[kind].reads(step, index), terms = productTerms(source, tensor(source), reads);
  const bias = biasOf(step, index), total = {label: `${terms.length} products`, value: sumOfTerms(terms)};
  return html`${kind === "Conv2d" ? html`<${KernelProducts} key=${name} ...${{step, index, reads}} />` :
      terms.length ? html`<${Terms} terms=${terms} />` : html`<p>This channel is filled with 0.</p>`}
    <${SumCheck} engine=${engine} parts=${bias === null ? [total] : [total, {label: "bias", value: bias}]} />`;
}

/** Window × kernel = products, for the input channel with the largest sum or the one that the reader chooses. */
function KernelProducts({step, index, reads}) {
  const {name, inputs: [source], node: {attributes, input_shape: [count, height, width]}} = step;
  const {kernel_size: size, stride, padding} = attributes, values = tensor(source), sums = new Float64Array(count);
  for (const term of reads) sums[term.channel] += values[term.index] * term.factor;
  const order = range(count).sort((one, other) => Math.abs(sums[other]) - Math.abs(sums[one]));
  const [chosen, choose] = useState(null), channel = chosen ?? order[0], area = size ** 2;
  const [output, row, column] = placeOf(index, step.shape), start = (output * count + channel) * area;
  const kernel = shownWeight(`${name}.weight`).subarray(start, start + area), window = new Float64Array(area);
  for (const term of reads) if (term.channel === channel) window[term.at] = values[term.index];
  const follow = ([, up, left]) => {
    const y = row * stride - padding + up, x = column * stride - padding + left;
    if (y >= 0 && x >= 0 && y < height && x < width) chooseNumber(source, (channel * height + y) * width + x);
  };
  const chooseWeight = ([, y, x]) => store.set({weight: {key: `${name}.weight`, index: start + y * size + x}});
  const map = (title, numbers, onPick) => html`<div><h4>${title}</h4><${NumberMap} values=${numbers} onPick=${onPick}
    shape=${[size, size]} cell=${innerWidth < 480 ? 30 : 40} label="${title}, input channel index ${channel}" /></div>`;
  const terms = order.map((input) => ({value: sums[input], label: () => html`<button class="link"
    aria-pressed=${input === channel} onClick=${() => choose(input)}>channel index ${input}</button>`}));
  const title = `Input channel index ${channel} (0 to ${count - 1}) adds ${formatNumber(sums[channel])}: `;
  return html`<h3>${count > 1 && title}
      ${count > 1 ? "window" : "Window"} × kernel</h3>
    <div class="products">${map(`window of ${source}`, window, follow)}<span>×</span>
      ${map("kernel", kernel, chooseWeight)}<span>=</span>
      ${map("products", window.map((value, at) => value * kernel[at]))}</div>
    ${count > 1 && html`<h3>What each input channel adds</h3><${Terms} first=${5} terms=${terms} />`}`;
}

function Normalized({index, engine}) {
  const {trace, config: {normalization: {scale, mean, std}}} = store.state;
  const pixel = trace.of.image.tensor.data[index], [channel] = placeOf(index, stepOf("input").shape);
  const value = (pixel / scale - mean[channel]) / std[channel];
  return html`<p class="number">(${formatNumber(pixel)} / ${scale} − ${formatNumber(mean[channel])}) / ${
    formatNumber(std[channel])}</p><${SumCheck} engine=${engine} parts=${[{value}]} />`;
}

function BatchNormalized({step, index, engine}) {
  const {mean, variance, deviation, weight, bias} = normalizationOf(step, index), [source] = step.inputs;
  const x = tensor(source)[index], rows = [["x", x, html`<${NumberLink} name=${source} index=${index} />`],
    ["mean", mean, "of the channel in training"], ["deviation", deviation, `√(variance ${formatNumber(variance)} + ε)`],
    ["weight γ", weight, "learned"], ["bias β", bias, "learned"]];
  return html`<table class="terms"><tbody>${rows.map(([label, value, note]) => html`<tr key=${label}>
      <th scope="row">${label}</th><td class="quiet">${note}</td><td class="number">${formatNumber(value)}</td></tr>`)}
    </tbody></table><p class="number">${formatNumber(weight)} × (${formatNumber(x)} − ${formatNumber(mean)}) / ${
      formatNumber(deviation)} + ${formatNumber(bias)}</p>
    <${SumCheck} engine=${engine} parts=${[{label: "bias", value: bias},
      {label: "weight × normalized x", value: weight * (x - mean) / deviation}]} />`;
}

function BlockSum({step, index, engine}) {
  const isOff = store.state.trace.of.edits.skipsOff.has(step.block);
  const parts = step.inputs.map((name, path) => ({name, value: path === 0 && isOff ? 0 : tensor(name)[index],
    label: path ? "F(x) through the body" : "x through the shortcut", colour: path ? "second" : "accent"}));
  const terms = parts.map((part) => ({...part, label: () => part.label,
    text: () => html`<${NumberLink} name=${part.name} index=${index} />`}));
  return html`${isOff && html`<p>The skip connection of ${step.block} is off: nothing comes through the shortcut.</p>`}
    <${Terms} terms=${terms} /><${SumCheck} ...${{engine, parts}} />`;
}

/** What the loss makes of the chosen number: what arrives there, and what it hands back. */
function Backward({step, index}) {
  const {name, kind, inputs} = step, gradient = gradientOf(name)[index];
  const groups = arrivals(name, index).map(({title, path, block, reader, factors}) => {
    const terms = productTerms(reader, gradientOf(reader), factors), colour = PATHS[path]?.colour;
    return {title, block, terms: terms.map((term) => ({...term, colour}))};
  });
  const block = groups.length === 2 ? groups[0].block : kind === "Sum" && step.block;
  const limit = limitOfTerms(groups.flatMap(({terms}) => terms));
  const reads = inputs.length ? KINDS[kind].reads(step, index) : [];
  const leaving = reads.map((term) => ({value: gradient * term.factor, text: () => times(gradient, term.factor),
    label: () => inputs.map((source) => html`<${NumberLink} key=${source} name=${source} index=${term.index} /> `)}));
  if (isMuted(name, index)) return html`<p>This channel is muted: no gradient passes through it.</p>`;
  return html`<p>If this number were 0.01 larger, the loss would ${Math.abs(gradient) < 1e-12 ? "stay the same" :
      `${gradient > 0 ? "grow" : "fall"} by about ${formatNumber(Math.abs(gradient) / 100, 2)}`}.</p>
    ${!groups.length && html`<${LogitGradient} ...${{name, index}} />`}
    ${groups.length > 0 && html`<h3>What arrives: gradient × factor of each number that was computed from this one</h3>
      <table class="terms">${groups.map(({title, terms}) => html`<${TermRows} key=${title} ...${{terms, limit}}
        first=${4} title=${terms.length ? groups.length > 1 && title :
          `${title}: nothing, no number there was computed from this one`} />`)}</table>
      <${SumCheck} engine=${gradient} parts=${groups.map(({title, terms}) =>
        ({label: title, value: sumOfTerms(terms)}))} />`}
    ${reads.length > 0 && html`<h3>What leaves to ${inputs.length > 1 ? "both inputs" : "the input"}</h3>
      <${Terms} terms=${leaving} first=${4} />`}
    ${block && html`<${PathMaps} ...${{step, index, block}} />`}
    <${WeightGradient} key=${name} ...${{step, index}} />`;
}

/** The gradient of a logit, where backward begins. */
function LogitGradient({name, index}) {
  const {trace, config} = store.state, isLabel = index === traceLabel(), count = trace.outputs.input.shape[0];
  const parts = [{label: `probability of ${config.classes[index]}`, value: trace.probabilities[index] / count},
    {label: isLabel ? "the label" : "not the label", value: isLabel ? -1 / count : 0}];
  return html`<h3>Backward begins here</h3>
    <p>The gradient of a logit is the probability of its class, less 1 if the class is the label${
      count > 1 && `; divided by ${count} images`}.</p>
    <${SumCheck} engine=${gradientOf(name)[index]} parts=${parts} />`;
}

/** Which path carries the gradient: what reaches a block's input through the shortcut, and through the body. */
function PathMaps({step, index, block}) {
  const {inputs: [name]} = shownFlow().find((other) => other.block === block), {shape} = stepOf(name);
  const [channels, height, width] = mapShape(shape), [chosen, ...pixel] = placeOf(index, step.shape);
  const channel = Math.min(chosen, channels - 1), size = height * width;
  const cell = Math.max(2, Math.floor(108 / Math.max(height, width)));
  const part = (values) => values ? values.subarray(channel * size, (channel + 1) * size) : new Float64Array(size);
  const paths = store.state.trace.pathGradients[block], sizes = pathSizes(block);
  const maps = [...Object.entries(PATHS).map(([path, looks]) => ({...looks, values: paths[path]})),
    {title: "g + F′(g)", values: gradientOf(name)}];
  const limit = Math.max(...maps.map(({values}) => limitOf(part(values))));
  const terms = Object.entries(PATHS).map(([path, {title, colour}]) =>
    ({colour, label: () => title, value: sizes[path]}));
  return html`<h3>Which path carries the gradient to ${name}, the input of ${block}?</h3>
    <p>${comparison(sizes)} The size ‖ ‖ is the root of the sum of squares, over all channels.</p>
    <${Terms} terms=${terms} />
    <h4>Channel index ${channel} of each part</h4>
    <div class="products">${maps.map(({title, values, colour}) => html`<div key=${title}>
      <h4 class=${colour}>${title}</h4>
      <${NumberMap} label="${title}, channel index ${channel}" ...${{limit, cell}} values=${part(values)}
        shape=${[height, width]} selected=${name === step.name && [0, ...pixel]} /></div>`)}</div>`;
}

/** In a sentence, which path hands back more. */
function comparison({shortcut, body}) {
  if (!shortcut && !body) return "No gradient comes by either path.";
  const [more, less] = shortcut > body ? ["shortcut", "body"] : ["body", "shortcut"];
  const [high, low] = [Math.max(shortcut, body), Math.min(shortcut, body)];
  if (!low) return `All of it comes through the ${more}.`;
  return `The ${more} carries ${formatNumber(high / low, 3)} times as much as the ${less}: ${formatNumber(high, 3)} ` +
    `against ${formatNumber(low, 3)}.`;
}

/** The gradients of a layer's weights for the chosen output, and one of them as the sum that it is. */
function WeightGradient({step, index}) {
  const {weight, trace} = useStore("weight", "trace"), keys = Object.keys(step.node?.parameters ?? {});
  if (!keys.length) return null;
  keys.sort().reverse(); // the weight before the bias
  const key = keys.includes(weight?.key) ? weight.key : keys[0], sizes = trace.of.weights[key].shape;
  const output = step.shape.length === 3 ? placeOf(index, step.shape)[0] : index, isVector = sizes.length === 1;
  const own = isVector ? sizes : sizes.slice(1), shape = mapShape(own), start = isVector ? 0 : output * product(own);
  const values = trace.gradients[key].subarray(start, start + product(own)), isShown = weight?.key === key &&
    weight.index >= start && weight.index < start + values.length;
  const local = isShown ? weight.index - start : isVector ? output : indexOfLargest(values.map(Math.abs));
  const terms = weightTerms(step, key, start + local), title = [...(isVector ? [] : [output]),
    ...(own.length === 3 ? placeOf(local, own) : [local])].join(", ");
  const label = (term) => term.image ? `image ${term.image + 1}, ${nameOf(step.name, term.index)}` :
    html`<${NumberLink} name=${step.name} index=${term.index} />`;
  const choose = (chosen, at) => store.set({weight: {key: chosen, index: at}});
  return html`<h3>What the weights learn: gradient × input, added over positions and images</h3>
    <div class="row">${keys.length > 1 && html`<${Choice} label="Gradients of" value=${key}
        options=${keys.map((value) => ({value, title: value.slice(step.name.length + 1)}))}
        onChange=${(value) => choose(value, trace.of.weights[value].shape.length > 1 ? -1 : output)} />`}
      <${BatchChoice} /></div>
    <${NumberMap} label="gradients of ${key}; choose one" ...${{values, shape}} selected=${placeOf(local, shape)}
      maxCell=${14} minCell=${4} maxHeight=${130}
      onPick=${([input, y, x]) => choose(key, start + (input * shape[1] + y) * shape[2] + x)} />
    <p><strong class="number">∂loss / ∂${key}[${title}]</strong>${
      terms.length > 1 ? ` is a sum of ${terms.length} products:` : " is"}</p>
    <${Terms} key=${`${key} ${title}`} first=${5} terms=${terms.map((term) => ({value: term.value,
      label: () => label(term), text: () => times(term.gradient, term.x)}))} />
    <${SumCheck} engine=${values[local]} parts=${[{value: sumOfTerms(terms)}]} />`;
}

/** Over how many images the loss is taken: the chosen one, or the first test images with it. */
function BatchChoice() {
  const {batch, config: {data}} = useStore("batch"), more = Math.min(15, data.n_test - 1);
  const change = (count) => store.set({batch: range(count).map((place) => dataImage("test", place + 1))});
  return more > 0 && html`<${Choice} label="Mean loss of" value=${batch.length} onChange=${change}
    options=${[{value: 0, title: "this image"}, {value: more, title: `${more + 1} images`}]} />`;
}

/** Why the number that is chosen, or under the mouse, is what it is. */
function WhyThisNumber() {
  const state = useStore("layer", "channel", "pixel", "hover", "direction", "trace");
  const {layer, index} = state.hover ?? {layer: state.layer, index: chosenNumber(state)}, step = stepOf(layer);
  const isGradient = state.direction === "gradient", {sentence, equation} = KINDS[step.kind];
  return html`<section class="why" aria-labelledby="why-title"><h2 id="why-title">Why is <span class="number">${
      isGradient ? "∂loss / ∂" : ""}${nameOf(layer, index)} = ${formatNumber(valuesOf(layer)[index])}</span>?</h2>
    ${!isGradient && html`<p>${sentence} <span class="equation">${equation}</span></p>`}
    <${isGradient ? Backward : Forward} key=${isGradient} ...${{step, index}} /></section>`;
}
