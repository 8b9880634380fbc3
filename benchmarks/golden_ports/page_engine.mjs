// The live page's engine as a port: reads a bundle, computes everything, writes a dump.
//
//   node page_engine.mjs ENGINE GRAPH BUNDLE DUMP [BUG]
//
// ENGINE is the folder of its scripts, GRAPH a file with glassnet.graph's tree, BUG a key of the engine's own BUGS.
import {readFileSync} from "node:fs";
import path from "node:path";
import vm from "node:vm";

import {readNpy, writeNpy} from "../../docs/examples/golden_npy.mjs";

const [engine, graphFile, bundle, dump, bug = null] = process.argv.slice(2);
for (const name of ["layers.js", "network.js", "training.js"]) {
  vm.runInThisContext(readFileSync(path.join(engine, name), "utf8"), {filename: name});
}
const {Network, Optimizer, crossEntropy} = vm.runInThisContext("({Network, Optimizer, crossEntropy})");
const json = (file) => JSON.parse(readFileSync(file, "utf8"));
const manifest = json(path.join(bundle, "manifest.json")), graph = json(graphFile);
const tensors = manifest.tensors, names = Array.isArray(tensors) ? tensors.map(({name}) => name) : Object.keys(tensors);
const known = new Set(names), read = (name) => readNpy(path.join(bundle, `${name}.npy`));

/** Write those tensors {name: {shape, data}} that the bundle has, too. */
function write(group, found) {
  for (const [key, {shape, data}] of Object.entries(found)) {
    const name = `${group}/${key}`;
    if (known.has(name)) writeNpy(path.join(dump, `${name}.npy`), shape, Float64Array.from(data));
  }
}

const network = new Network(graph), images = read("inputs/images"), {data: labels} = read("inputs/labels");
const states = names.filter((name) => name.startsWith("inputs/state/"));
network.load(Object.fromEntries(states.map((name) => [name.slice("inputs/state/".length), read(name)])));
const {recipe, learning_rates: rates} = manifest, optimizer = new Optimizer(network, recipe);
const pixels = Float64Array.from(images.data), count = labels.length, classes = graph.spec.classes;
const withShapes = (arrays) => mapShapes(arrays, network.tensors);

function mapShapes(arrays, like) {
  return Object.fromEntries(Object.entries(arrays).map(([key, data]) => [key, {shape: like[key].shape, data}]));
}

network.forward(pixels, count);
write("eval/activations", network.outputs);
for (let step = 1; step === 1 || step <= rates.length; step++) {
  const logits = network.forward(pixels, count, {training: true});
  const {loss, gradient} = crossEntropy(logits, labels, {classes, smoothing: recipe.label_smoothing});
  network.backward(gradient, {bug});
  if (step === 1) {
    write("train", {loss: {shape: [], data: [loss]}});
    write("train/activations", network.outputs);
    write("train/buffers", network.buffers);
    write("train/activation_gradients", mapShapes(network.outputGradients, network.outputs));
    write("train/gradients", withShapes(network.gradients));
  }
  write(`steps/${step}/gradients`, withShapes(network.gradients));
  if (!rates.length) break;
  optimizer.step(rates[step - 1]);
  write(`steps/${step}/state`, network.tensors);
  for (const [theirs, ours] of [["momentum", "momentum_buffer"], ["mean", "exp_avg"], ["square", "exp_avg_sq"]]) {
    const carried = Object.entries(optimizer.carried).filter(([, arrays]) => arrays[theirs]);
    write(`steps/${step}/${ours}`, withShapes(Object.fromEntries(carried.map(([key, arrays]) => [key, arrays[theirs]]))));
  }
}
