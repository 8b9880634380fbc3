"use strict";
// Changes by hand: skip connections switched off, channels muted, and numbers of weights and pixels edited.

const PIXELS = "pixels"; // the target of an edit that is no parameter
const LISTED = 12; // changes in the list

let lastEdit = {}; // {target, index, result, steps}: what it set in the store, and how many steps could be undone then

/** The numbers that an edit of a target may change: {shape, values, limit}. */
function editable(target, {image, weights, config} = store.state) {
  if (target === PIXELS) {
    const {shape, data} = image.tensor;
    return {shape: shape.slice(1), values: data, limit: config.normalization.scale};
  }
  const values = weightValues(target);
  return {shape: weights[target].shape, values, limit: Math.max(1, 2 * limitOf(values))};
}

/** Why a number cannot be set, or null: pixels have a range, weights need to be finite. */
function refusalOf(target, index, text) {
  const {shape, limit} = editable(target), value = text === "" ? NaN : Number(text), isPixel = target === PIXELS;
  if (Number.isFinite(value) && (!isPixel || (value >= 0 && value <= limit))) return null;
  const allowed = isPixel ? `a number from 0 to ${limit}` : "a finite number";
  return `${target}${indicesOf(index, shape)} must be ${allowed}. Got ${text === "" ? "none" : text}.`;
}

/** Set one number of the image or of a parameter; edits of the same number in a row are one step to undo. */
function setNumber(target, index, value) {
  const values = Float64Array.from(editable(target).values);
  values[index] = value;
  const field = target === PIXELS ? "image" : "changedWeights", before = store.state[field];
  const result = target === PIXELS ? editedImage(before, values) : new Map(before).set(target, values);
  const isSameNumber = lastEdit.target === target && lastEdit.index === index;
  const isInARow = isSameNumber && lastEdit.result === before && lastEdit.steps === store.past.length;
  if (isInARow) store.replace({[field]: result});
  else store.set({[field]: result});
  lastEdit = {target, index, result, steps: store.past.length};
}

/** The image with other pixels, which remembers what it was; its own pixels give it back. */
function editedImage(image, data) {
  const original = image.original ?? image;
  if (original.tensor.data.every((value, index) => value === data[index])) return original;
  const {shape} = original.tensor;
  const title = `${original.title}, edited`;
  return {...original, tensor: {shape, data}, title, index: null, isEmpty: false, original};
}

function toggleSkip(block) {
  const {edits} = store.state, skipsOff = new Set(edits.skipsOff);
  if (!skipsOff.delete(block)) skipsOff.add(block);
  store.set({edits: {...edits, skipsOff}});
}

function toggleChannel(layer, channel) {
  const {edits} = store.state, muted = new Map(edits.muted), channels = new Set(muted.get(layer));
  if (!channels.delete(channel)) channels.add(channel);
  if (channels.size) muted.set(layer, channels);
  else muted.delete(layer);
  store.set({edits: {...edits, muted}});
}

/** The place of a number in a shape, as Python writes it: [0, 2, 1]. */
function indicesOf(index, shape) {
  const indices = shape.map((_, axis) => Math.floor(index / product(shape.slice(axis + 1))) % shape[axis]);
  return `[${indices.join(", ")}]`;
}

/** Every change of the network and the image: {text, takeBack}, and of numbers {target, index, value}. */
function listChanges({edits, changedWeights, weights, image} = store.state) {
  const skips = [...edits.skipsOff].map((block) =>
    ({text: `Skip connection of ${block}: off`, takeBack: () => toggleSkip(block)}));
  const channels = [...edits.muted].flatMap(([layer, muted]) => [...muted].map((channel) =>
    ({text: `Channel index ${channel} of ${layer}: muted`, takeBack: () => toggleChannel(layer, channel)})));
  const pixels = image.original ? [[PIXELS, image.tensor.data, image.original.tensor]] : [];
  const parameters = [...changedWeights].map(([key, values]) => [key, values, weights[key]]);
  const numbers = [...parameters, ...pixels].flatMap(([target, values, {shape, data}]) =>
    [...values.keys()].filter((index) => values[index] !== data[index]).map((index) => ({
      target, index, value: values[index],
      text: `${target}${indicesOf(index, target === PIXELS ? shape.slice(1) : shape)}: ` +
        `${formatNumber(data[index])} → ${formatNumber(values[index])}`,
      takeBack: () => {
        lastEdit = {};
        setNumber(target, index, data[index]);
      },
    })));
  return [...skips, ...channels, ...numbers];
}

/** Act, and hand the focus on where the button is disabled by that: a keyboard stays at its place. */
const actAndKeepFocus = (act) => ({currentTarget: button}) => {
  act();
  setTimeout(() => button.disabled && button.parentElement.querySelector("button:not(:disabled)")?.focus());
};

/** The list of changes, each of which can be taken back. */
function Changes() {
  const {image} = useStore("edits", "changedWeights", "weights", "image"), changes = listChanges();
  const takeAllBack = () => store.set({edits: NO_EDITS, changedWeights: new Map(), image: image.original ?? image});
  return html`<h3>Changes</h3>
    <p class="buttons"><button disabled=${!store.past.length}
      onClick=${actAndKeepFocus(() => store.undo())}>Undo</button>
      <button disabled=${!store.future.length} onClick=${actAndKeepFocus(() => store.redo())}>Redo</button>
      <button disabled=${!changes.length} onClick=${actAndKeepFocus(takeAllBack)}>Take all back</button></p>
    ${!changes.length && html`<p class="quiet">Nothing is changed.</p>`}
    <ul class="changes">${changes.slice(0, LISTED).map(({text, takeBack}) => html`<li key=${text}><span>${text}</span>
      <button class="link" aria-label=${`Take back: ${text}`} onClick=${takeBack}>Take back</button></li>`)}</ul>
    ${changes.length > LISTED && html`<p class="quiet">And ${changes.length - LISTED} more.</p>`}`;
}

/** Keep a network "before" in the worker, the one on screen without the changes. */
async function prepareBefore({variant, seed, weights} = store.state) {
  if (prepareBefore.weights === weights) return;
  prepareBefore.weights = weights;
  await session.call("choose", {network: "before", variant, seed, weights: variant ? "initial" : "trained"});
  await session.call("load", {network: "before", state: weights});
}

/** What the changes do to the prediction of the image and, when asked, to the test accuracy. */
function Effect() {
  const state = useStore("trace", "edits", "changedWeights", "weights"), {config, trace, image, network} = state;
  const [before, setBefore] = useState(null), [accuracy, setAccuracy] = useState(null);
  const original = image.original ?? image, current = [state.edits, state.changedWeights, state.weights];
  useEffect(() => {
    prepareBefore().then(() => session.call("trace", {network: "before", ...stacked([original])})).then(setBefore);
  }, [original, state.weights]);
  const measure = async () => {
    setAccuracy({isBusy: true});
    await prepareBefore();
    const counts = [];
    for (const name of ["before", network]) {
      const {predictions} = await session.call("evaluate", {network: name, split: "test"});
      counts.push(predictions.filter((value, index) => value === dataset.labels.test.data[index]).length);
    }
    setAccuracy({counts, current});
  };
  const total = dataset.labels.test.data.length;
  const isOld = accuracy?.current?.some((value, index) => value !== current[index]);
  const predicted = ({probabilities}) => {
    const first = probabilities.subarray(0, config.classes.length), best = indexOfLargest(first);
    return html`<strong>${config.classes[best]}</strong> (${(100 * first[best]).toFixed(1)}%)`;
  };
  const count = (value) => `${(100 * value / total).toFixed(1)}% (${value} of ${total})`;
  return html`<h3>Effect</h3>
    ${before && !original.isEmpty && html`<p>Predicted class of ${original.title}: ${" "}
      ${predicted(before)} before the changes, and ${predicted(trace)} now.</p>`}
    ${total > 0 && html`<p><button disabled=${accuracy?.isBusy} onClick=${measure}>Measure test accuracy</button></p>
    <p aria-live="polite">${accuracy?.isBusy ? "The test images are being classified …" : accuracy && !isOld &&
      `Test accuracy: ${count(accuracy.counts[0])} before the changes, ${count(accuracy.counts[1])} now.`}</p>`}`;
}

/** The switches of the skip connections, and of the channels of one layer. */
function Switches() {
  const {graph, edits, layer} = useStore("graph", "edits", "layer");
  const steps = flowOf(graph).filter(({kind}) => kind !== "Input" && kind !== "Sum");
  const blocks = [...new Set(flowOf(graph).filter(({kind}) => kind === "Sum").map(({block}) => block))];
  const {name, shape: [count]} = steps.find((step) => step.name === layer) ?? steps[0];
  const muted = edits.muted.get(name) ?? new Set();
  return html`<h3>Skip connections</h3>
    ${!blocks.length && html`<p class="quiet">This network is plain: it has none.</p>`}
    <p class="buttons">${blocks.map((block) => html`<label key=${block} class="switch"><input type="checkbox"
      checked=${!edits.skipsOff.has(block)} onChange=${() => toggleSkip(block)} />${block}</label>`)}</p>
    <h3>Channels, by index</h3>
    <p><label>Layer <select value=${name} onChange=${(event) => chooseLayer(event.target.value)}>
      ${steps.map((step) => html`<option key=${step.name} value=${step.name}>${step.name}</option>`)}
      </select></label></p>
    <p class="buttons">${range(count).map((channel) => html`<label key=${channel} class="switch"><input type="checkbox"
      checked=${!muted.has(channel)} aria-label="channel index ${channel} of ${name}"
      onChange=${() => toggleChannel(name, channel)} />${channel}</label>`)}</p>
    <p class="quiet">A channel without its mark is muted: all its numbers are 0.</p>`;
}

/** A field for one number; what it refuses is said below it until the number changes. */
function NumberField({name, value, refuse, onInput}) {
  const [refused, setRefused] = useState(null);
  const input = ({target}) => {
    if (refuse(target.value)) return; // perhaps the rest is still being typed
    setRefused(null);
    onInput(Number(target.value));
  };
  return html`<p class="buttons"><label>${name} <input type="number" step="any" value=${value} onInput=${input}
      onChange=${({target}) => setRefused({text: refuse(target.value), value})} /></label></p>
    ${refused?.text && refused.value === value && html`<p class="problem" role="alert">${refused.text}</p>`}`;
}

/** A pixel or a weight, chosen on its maps and set by a field or a slider. */
function NumberEditor() {
  const {weights, weight, image} = useStore("weights", "changedWeights", "weight", "image");
  const keys = Object.keys(weights).filter((key) => !key.endsWith("num_batches_tracked"));
  const [chosen, setTarget] = useState(weight?.key), [pixel, setPixel] = useState(0);
  const target = keys.includes(chosen) ? chosen : PIXELS; // another network may have other weights
  const {shape, values, limit} = editable(target);
  const index = Math.min(values.length - 1, target === PIXELS ? pixel : weight?.key === target ? weight.index : 0);
  const choose = (next) => target === PIXELS ? setPixel(next) : store.set({weight: {key: target, index: next}});
  const [height, width] = shape.length < 3 ? [shape.length - 1 && shape[0] || 1, shape.at(-1)] : shape.slice(-2);
  const shown = shape.length === 4 ? shape[1] : shape.length === 3 ? shape[0] : 1, group = shown * height * width;
  const start = Math.floor(index / group) * group, size = height * width, offset = index - start;
  const place = [Math.floor(offset / size), Math.floor(offset / width) % height, offset % width];
  const name = `${target}${indicesOf(index, shape)}`, set = (value) => setNumber(target, index, value);
  return html`<h3>Numbers</h3>
    <p><label>Edit <select value=${target} onChange=${(event) => setTarget(event.target.value)}>
      <option value=${PIXELS}>pixels of ${(image.original ?? image).title}</option>
      ${keys.map((key) => html`<option key=${key} value=${key}>${key}, ${weights[key].shape.join("×")}</option>`)}
      </select></label></p>
    ${shape.length === 4 && html`<${Slider} label="Output channel" min=${0} max=${shape[0] - 1}
      value=${start / group} onInput=${(value) => choose(value * group + offset)} />`}
    <${NumberMap} label="${target}: arrow keys choose a number" values=${values.subarray(start, start + group)}
      shape=${[shown, height, width]} limit=${limitOf(values)} selected=${place} maxCell=${36} maxHeight=${320}
      onPick=${([map, row, column]) => choose(start + (map * height + row) * width + column)} />
    <${NumberField} key=${name} name=${name} value=${values[index]} onInput=${set}
      refuse=${(text) => refusalOf(target, index, text)} />
    <${Slider} label="Value" min=${target === PIXELS ? 0 : -limit} max=${limit} step=${limit / 200}
      value=${values[index]} onInput=${set} />`;
}

addEventListener("keydown", (event) => { // Ctrl+Z and Ctrl+Y, outside fields that undo their own letters
  const key = event.key.toLowerCase(), isRedo = key === "y" || (key === "z" && event.shiftKey);
  const isOwn = event.defaultPrevented || event.target.matches?.("input[type=number], input[type=text]");
  if (isOwn || !(event.ctrlKey || event.metaKey) || (key !== "z" && !isRedo)) return;
  event.preventDefault();
  if (isRedo) store.redo();
  else store.undo();
});

function ChangePanel() {
  return html`<p>Every later number and the prediction follow a change at once.</p>
    <div class="columns halves"><div><${Switches} /><${NumberEditor} /></div>
      <div><${Effect} /><${Changes} /></div></div>`;
}

PANELS.push({key: "change", title: "Change", component: ChangePanel});
