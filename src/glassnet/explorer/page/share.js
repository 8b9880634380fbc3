"use strict";
// What is on screen, to take along: as Python that computes the same numbers, as pictures, and as weights.

const LITERALS = 256; // numbers that are written out in Python; more are written in base64

/** A value of JSON as Python writes it. */
function toPython(value) {
  if (Array.isArray(value)) return `(${value.map(toPython).join(", ")}${value.length === 1 ? "," : ""})`;
  return value === null ? "None" : value === true ? "True" : value === false ? "False" : JSON.stringify(value);
}

/** Keyword arguments: "skip=False, blocks=(2,)". */
const toArguments = (fields) => Object.entries(fields).map(([name, value]) => `${name}=${toPython(value)}`).join(", ");

/** The fields of an object that differ from another's. */
function differences(fields, others) {
  return Object.fromEntries(Object.entries(fields).filter(([name, value]) =>
    JSON.stringify(value) !== JSON.stringify(others[name])));
}

/** Images as an array in Python: their numbers row by row, or in base64. */
function arrayInPython({shape, data}) {
  if (data.length > LITERALS) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    return [`numbers = np.frombuffer(base64.b64decode(${JSON.stringify(text)}))`,
      `images = numbers.reshape(${toPython(shape)})`];
  }
  const width = shape.at(-1), rows = range(data.length / width).map((row) =>
    `    ${[...data.subarray(row * width, (row + 1) * width)].join(", ")},`);
  return ["images = np.array([", ...rows, `]).reshape(${toPython(shape)})`];
}

/** The lines that make the network on screen, before the changes by hand. */
function networkInPython({config, variant, seed, origin}) {
  const lines = [`model = gn.load(${toPython(config.run.path)}, dtype="float64")`];
  const fields = differences(config.variants[variant].graph.spec, config.spec);
  const spec = `model.network.spec${Object.keys(fields).length ? `.replace(${toArguments(fields)})` : ""}`;
  if (origin.kind === "trained") return [...lines, "network = model.network"];
  if (origin.kind === "initial") return [...lines, `network = gn.build(${spec}, seed=${seed}, dtype="float64")`];
  if (origin.kind === "training") {
    const settings = {...origin.settings, seed, run: "explored", report: false, overwrite: true};
    return [...lines, "run = gn.train(", `    ${spec}, model.load_dataset(), dtype="float64",`,
      `    recipe=gn.Recipe(**model.config["recipe"]), ${toArguments(settings)},`, ")",
      'network = gn.load(run.path, weights="last").network'];
  }
  return [...lines, `network = gn.build(${spec}, dtype="float64")`,
    'network.load_state_dict(gn.load_weights("weights.safetensors"))  # saved with the button on the page'];
}

/** The node of a name in a graph. */
function findNode(node, name) {
  if (node.name === name) return node;
  return (node.children ?? []).map((child) => findNode(child, name)).find(Boolean);
}

/** The lines that change the network as it was changed by hand. */
function changesInPython({edits, graph, weights}, changes) {
  const lines = [], numbers = changes.filter(({target}) => target && target !== PIXELS);
  if (numbers.length) {
    lines.push("weights = network.state_dict()", ...numbers.map(({target, index, value}) =>
      `weights[${toPython(target)}]${indicesOf(index, weights[target].shape)} = ${value}`),
    "network.load_state_dict(weights)");
  }
  if (edits.skipsOff.size || edits.muted.size) lines.push("layers = dict(network.module.named_modules())");
  for (const block of edits.skipsOff) {
    const attribute = findNode(graph, block).shortcut.name.slice(block.length + 1);
    lines.push(`del layers[${toPython(block)}].${attribute}  # its skip connection`);
  }
  if (edits.muted.size) {
    lines.push("", "def mute(layer, channels):", "    forward = layer.forward", "    def muted(x):",
      "        y = forward(x).copy()", "        y[:, channels] = 0", "        return y", "    layer.forward = muted",
      "");
  }
  for (const [layer, channels] of edits.muted) {
    lines.push(`mute(layers[${toPython(layer)}], ${toPython([...channels])})`);
  }
  return lines;
}

/** The lines that print the chosen number, or the gradient of the loss with respect to it. */
function numberInPython(state) {
  const {layer, direction, graph, batch, edits} = state, {shape} = stepOf(layer);
  const place = indicesOf(chosenNumber(state), shape).replace("[", "[0, ");
  if (direction === "forward") {
    const values = layer === "input" ? "x" : `network.activations(x, [${toPython(layer)}])[${toPython(layer)}]`;
    return [`print(${toPython(`${layer}${place} =`)}, ${values}${place})`];
  }
  const isTrainedAlike = graph.spec.norm === "none" && !graph.spec.dropout && !edits.muted.size && layer !== "input";
  if (!isTrainedAlike) return ["# The page's gradients are of evaluation mode; network.trace has training mode's."];
  const labels = [traceLabel(state), ...batch.map(({label}) => label)];
  return [`trace = network.trace(x, np.array(${JSON.stringify(labels)}))`,
    `print(${toPython(`gradient of ${layer}${place} =`)}, trace.activation_gradients[${toPython(layer)}]${place})`];
}

/** The Python that reproduces what is on screen: the network, what was changed, the image, and the chosen number. */
function stateInPython(state = store.state) {
  const {config, image, batch, direction} = state, {normalization: {scale, mean, std}} = config;
  const shown = direction === "gradient" ? [image, ...batch] : [image], {images} = stacked(shown);
  const column = (values) =>
    values.length === 1 ? values[0] : `np.array(${JSON.stringify(values)})[:, np.newaxis, np.newaxis]`;
  const imports = images.data.length > LITERALS ? ["import base64", ""] : [];
  const changes = changesInPython(state, listChanges(state));
  return [...imports, "import numpy as np", "", "import glassnet as gn", "", ...networkInPython(state),
    ...(changes.length ? ["", ...changes] : []), "", `# ${image.title}`, ...arrayInPython(images),
    `x = (images / ${scale} - ${column(mean)}) / ${column(std)}`, "", "logits = network.logits(x)",
    'print("predicted class:", model.classes[logits[0].argmax()])', 'print("logits:", logits[0])',
    ...numberInPython(state), ""].join("\n");
}

/** A state {key: {shape, data}} as the bytes of a safetensors file. */
function toSafetensors(state) {
  const header = {}, parts = [];
  let begin = 0;
  for (const [key, {shape, data}] of Object.entries(state)) {
    header[key] = {dtype: "F64", shape, data_offsets: [begin, begin += data.byteLength]};
    parts.push(data);
  }
  const text = new TextEncoder().encode(JSON.stringify(header)), length = 8 * Math.ceil(text.length / 8);
  const start = new Uint8Array(8 + length).fill(32); // padded with spaces
  new DataView(start.buffer).setBigUint64(0, BigInt(length), true);
  start.set(text, 8);
  return new Blob([start, ...parts], {type: "application/octet-stream"});
}

/** The parts of the page that can be saved, [title, selector]; the titles say what is shown and name the files. */
function pictures({config, variant, layer, direction, image, edits, changedWeights}) {
  const changed = edits.skipsOff.size + edits.muted.size + changedWeights.size ? ", changed" : "";
  const maps = `${direction === "gradient" ? "Gradients" : "Maps"} of ${layer} for ${image.title}${changed}`;
  return [[`Network: ${config.variants[variant].title}${changed}`, ".picture > div"], [maps, ".maps .map"],
    ...(image.isEmpty ? [] : [[`Image: ${image.title}`, ".photo"]])];
}

/** What is looked at as the fragment of an address; what was drawn, changed or trained is not in it. */
function viewFragment(state) {
  const {image: {split, index}, layer, direction, panel} = state, number = chosenNumber(state);
  const view = {...(split && index !== null && {image: `${split} ${index}`}), layer, number, direction, panel};
  return `#${new URLSearchParams(view)}`;
}

/** Show what the fragment of the address names; of what this page does not have, nothing changes. */
function openView() {
  const view = new URLSearchParams(location.hash.slice(1)), panel = PANELS.find(({key}) => key === view.get("panel"));
  const [split, index] = (view.get("image") ?? "").split(" "), {image} = store.state, number = Number(view.get("number"));
  const step = shownFlow().find(({name}) => name === view.get("layer"));
  const isThere = ["train", "test"].includes(split) && Number(index) in dataset.labels[split].data;
  if (panel) store.replace({panel: panel.key});
  if (step && number in range(product(step.shape))) chooseNumber(step.name, number);
  if (isThere && !(image.split === split && image.index === Number(index))) {
    store.set({image: dataImage(split, Number(index))});
  }
  if (["forward", "gradient"].includes(view.get("direction"))) showDirection(view.get("direction"));
}

function ViewLink() {
  const state = useStore("image", "layer", "channel", "pixel", "direction", "panel", "trace");
  return html`<a href=${viewFragment(state)}>Link to this view</a>
    <small class="quiet"> In the address bar: image, layer, number and panel; no changes or weights.</small>`;
}

/** A part of the page that is looked up when it is saved. */
const partOfPage = (selector) => ({get current() { return document.querySelector(selector); }});

function SharePanel() {
  const state = useStore("config", "image", "batch", "edits", "changedWeights", "weights", "layer", "channel", "pixel",
    "direction", "trace", "origin");
  const [copied, setCopied] = useState(null), code = useRef(), text = stateInPython(state);
  const copy = async () => {
    getSelection().selectAllChildren(code.current);
    await navigator.clipboard.writeText(text).catch(() => document.execCommand("copy")); // where it is not allowed
    setCopied(text);
  };
  const save = async () => {
    const weights = await session.call("state", {network: state.network});
    download("weights.safetensors", toSafetensors(weights));
  };
  return html`<h3>Python</h3>
    <p>These lines compute the prediction${state.direction === "gradient" ? "; the gradient," +
      " where training and evaluation mode agree" : " and the chosen number"}.
      Run them where glassnet is installed, with the run folder ${" "}
      <code>${state.config.run.path}</code>.${state.origin.kind === "training" && html` They train again, and
      replace a run folder <code>explored</code>, if there is one.`}</p>
    <p class="buttons"><button class="main" onClick=${copy}>Copy as Python</button>
      <button onClick=${save}>Save weights</button>
      <span aria-live="polite">${copied === text ? "Copied." : ""}</span></p>
    <pre class="code" tabindex="0" aria-label="Python" ref=${code}>${text}</pre>
    <h3>Pictures</h3>
    ${pictures(state).map(([name, selector]) => html`<div class="buttons" key=${name}><span>${name}</span>
      <${SaveButtons} name=${name} target=${partOfPage(selector)} /></div>`)}`;
}

PANELS.push({key: "share", title: "Share", component: SharePanel});
