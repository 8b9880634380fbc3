"use strict";
// The panel "Train": the network learns here, step by step or epoch by epoch, beside its twin with or without skips.

const LEARNERS = {main: "accent", twin: "second"}; // the networks that train, and their colours in charts

/** What the reader chose, and what the training has given so far; both stay while other panels are open. */
const NEW_TRAINING = {
  isRunning: false,
  isReset: false, // the network has the weights that the training starts from, or has learned since
  isPure: true, // every step was taken with the same settings and without changes by hand
  numbers: null, // of the newest step
  update: null, // what that step did to the chosen weight
  losses: {main: [], twin: []}, // [step, loss]
  norms: {}, // by network: the gradient norms of the newest step, by key
  records: {main: [], twin: []}, // one an epoch
  problem: null, // why the training ended, if it failed
  difference: null, // from the run's weights at the end: {key, difference}
};

store.replace({training: {...NEW_TRAINING, hasTwin: false, start: "initial", settings: {}}});

function setTraining(changes) {
  store.replace({training: {...store.state.training, ...changes}});
}

/** The index in config.variants of the network on screen with other {skip, blocks, norm}; −1 if the page has none. */
function variantWith(changes, {config: {variants}, variant} = store.state) {
  const fields = ({skip, blocks, norm}) => JSON.stringify([skip, blocks, norm]);
  return variants.findIndex((other) => fields(other) === fields({...variants[variant], ...changes}));
}

/** Settings of a page with few images of large data: a step of a large network on all of them takes seconds. */
const pageSettings = ({config} = store.state) => config.data.complete ? {} : {batch_size: 8};

const trainingRecipe = ({config, training} = store.state) =>
  ({...config.recipe, ...pageSettings(), ...training.settings});

/** The networks that train now. */
const learners = () => store.state.training.hasTwin ? ["main", "twin"] : ["main"];

const isChangedByHand = ({edits, changedWeights} = store.state) =>
  edits.skipsOff.size + edits.muted.size + changedWeights.size > 0;

/** Whether the run's own training is repeated. */
function isRunsOwn({config, training, variant, seed} = store.state) {
  const isStart = training.isPure && training.start === "initial" && !variant && seed === config.seeds[0];
  return isStart && !Object.keys(differences(trainingRecipe(), config.recipe)).length;
}

/** Where the weights come from after some steps: whole epochs that one call of gn.train takes, too, or others. */
function trainedOrigin({training, config, seed} = store.state) {
  const {records: {main: {length}}, numbers, isPure, start} = training, recipe = trainingRecipe();
  const isWhole = numbers?.step === numbers?.stepsPerEpoch && numbers?.epoch === length;
  // The page repeats its orders of images after the last one.
  const isPython = config.run.repeatable && length <= dataset.order[seed]?.shape[0];
  if (!isPure || start !== "initial" || !isWhole || !isPython) return {kind: "other"};
  const ending = length < recipe.epochs ? {stop_after_epoch: length} : {};
  return {kind: "training", settings: {...differences(recipe, config.recipe), ...ending}};
}

/** Give the network, and its twin, the weights that a training starts from. */
async function resetTraining({variant = store.state.variant, seed = store.state.seed, ...changes} = {}) {
  await session.call("pause");
  const {seeds} = store.state.config.variants[variant], chosen = seeds.includes(seed) ? seed : seeds[0] ?? seed;
  setTraining({...NEW_TRAINING, ...changes});
  const start = seeds.length && (variant || store.state.training.start === "initial") ? "initial" : "trained";
  setTraining({start});
  await chooseNetwork({variant, seed: chosen, weights: start});
  if (store.state.training.hasTwin) {
    const twin = variantWith({skip: !store.state.config.variants[variant].skip});
    await session.call("choose", {network: "twin", variant: twin, seed: chosen, weights: "initial"});
  }
  setTraining({isReset: true});
}

/** Run a reaction to the reader's hand; what fails is shown. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    store.replace({problem: error.message});
  }
}

/** Show the run's own network with its trained weights again, as when the page was opened. */
async function restoreRun() {
  await session.call("pause");
  setTraining({...NEW_TRAINING, hasTwin: false});
  await chooseNetwork({variant: 0, seed: store.state.config.seeds[0], weights: "trained"});
}

/** Whether the training has ended, and no new one, with or without a twin, is to begin. */
const isTrained = ({training: {isReset, records}} = store.state) =>
  isReset && records.main.length >= trainingRecipe().epochs;

/** Take steps with each network: a number of them, to the end of an "epoch", or all. */
async function trainFor(steps) {
  if (!store.state.training.isReset) await resetTraining({isRunning: true});
  const {training: {settings}, weight} = store.state;
  setTraining({isRunning: true, problem: null});
  store.replace({origin: {kind: "other"}});
  const watch = steps === 1 ? weight ?? firstWeight() : null;
  try {
    await Promise.all(learners().map((network) => session.call("train",
      {network, steps, watch, ...pageSettings(), ...settings})));
  } catch (error) {
    setTraining({problem: error.message});
  } finally {
    setTraining({isRunning: false});
    await refreshWeights({origin: trainedOrigin()});
    if (isTrained() && isRunsOwn()) setTraining({difference: await session.call("compare", {})});
  }
}

const firstWeight = () => ({key: Object.keys(store.state.weights).find((key) => key.endsWith(".weight")), index: 0});

/** Points of a curve, every second of them where there are more than a chart shows. */
const thinned = (points) => points.length > 1000 ? points.filter((_, index) => index % 2) : points;

function receiveStep({network, update = null, gradientNorms, ...numbers}) {
  if (!(network in LEARNERS)) return;
  const {losses, norms} = store.state.training, step = (numbers.epoch - 1) * numbers.stepsPerEpoch + numbers.step;
  setTraining({
    losses: {...losses, [network]: thinned([...losses[network], [step, numbers.loss]])},
    norms: {...norms, [network]: gradientNorms},
    ...(network === "main" && {numbers, update}),
  });
}

function receiveEpoch({network, ...record}) {
  if (!(network in LEARNERS)) return;
  const {records} = store.state.training;
  setTraining({records: {...records, [network]: [...records[network], record]}});
  if (network === "main") tracer.request(); // the rest of the page follows
}

/** Change a setting of the recipe; a training that runs takes it from its next step on. */
function setSetting(field, value) {
  const {training: {settings, isRunning, isPure, numbers}} = store.state;
  setTraining({settings: {...settings, [field]: value}, isPure: isPure && !numbers});
  if (!isRunning) return;
  for (const network of learners()) attempt(() => session.call("change", {network, [field]: value}));
}

/** Train with a twin or without from now on; what a training has given stays until the next one starts. */
function setTwin(hasTwin) {
  if (!store.state.training.numbers) return resetTraining({hasTwin, start: "initial"});
  setTraining({hasTwin, start: "initial", isReset: false});
}

/** Which network, from which weights. */
function TrainedNetwork() {
  const {config: {variants}, variant, seed, training} = useStore("variant", "seed", "training");
  const {start, hasTwin, isRunning} = training, current = variants[variant];
  const has = (changes) => variantWith(changes) >= 0, reset = (changes) => attempt(() => resetTraining(changes));
  const choose = (changes) => reset({variant: variantWith(changes)});
  const depths = [...new Set(variants.map(({blocks}) => JSON.stringify(blocks)))];
  const blocks = depths.filter((text) => has({blocks: JSON.parse(text)}));
  const norms = ["batch", "none"].filter((norm) => has({norm}));
  const hasOther = has({skip: !current.skip}) && current.seeds.length > 0;
  // Most pages have 5; `variants` in Python leaves out those with too many weights.
  const isShort = blocks.length > 1 && blocks.length < 5;
  return html`<div class="columns">
    ${hasOther && html`<${Choice} label="Connections" value=${current.skip} onChange=${(skip) => choose({skip})}
      options=${[{value: true, title: "residual"}, {value: false, title: "plain"}]} />`}
    ${blocks.length > 1 && html`<${Choice} label="Blocks" value=${JSON.stringify(current.blocks)}
      onChange=${(text) => choose({blocks: JSON.parse(text)})}
      options=${blocks.map((text) => ({value: text, title: String(sumOf(JSON.parse(text)))}))} />`}
    ${norms.length > 1 && html`<${Choice} label="Normalization" value=${current.norm}
      onChange=${(norm) => choose({norm})}
      options=${norms.map((norm) => ({value: norm, title: norm === "batch" ? "BatchNorm" : "none"}))} />`}
    ${current.seeds.length > 1 && html`<${Choice} label="Seed" value=${seed}
      onChange=${(value) => reset({seed: value})}
      options=${current.seeds.map((value) => ({value, title: String(value)}))} />`}
    ${!variant && current.seeds.length > 0 && html`<${Choice} label="Start from" value=${start}
      onChange=${(value) => reset({start: value, hasTwin: hasTwin && value === "initial"})}
      options=${[{value: "initial", title: "initial weights"}, {value: "trained", title: "trained weights"}]} />`}
  </div>
  ${isShort && html`<p class="quiet">Initial weights of networks with more blocks would make the page too large.</p>`}
  ${hasOther && html`<div class="buttons"><label class="switch"><input type="checkbox" checked=${hasTwin}
    disabled=${isRunning} onChange=${(event) => attempt(() => setTwin(event.target.checked))} />
    Train its ${current.skip ? "plain" : "residual"} twin beside it, from the same weights</label>
    ${hasTwin && html`<span class="quiet">The more blocks, the more the two differ.</span>`}</div>`}`;
}

const sumOf = (numbers) => numbers.reduce((sum, number) => sum + number, 0);

/** Network and settings in a line, which opens; on a narrow screen it is closed, so that buttons and loss come first. */
function Settings() {
  const {config: {variants}, variant, seed} = useStore("variant", "seed", "training");
  const {lr, epochs, batch_size} = trainingRecipe(), {title, seeds} = variants[variant];
  return html`<details open=${innerWidth > 480}><summary>${title}${seeds.length > 0 && `; seed ${seed}`}; learning rate${
    " "}${formatNumber(lr, 2)}, ${epochs} epoch${epochs > 1 ? "s" : ""}, batches of ${batch_size}</summary>
    <${TrainedNetwork} /><${TrainingSettings} /></details>`;
}

function TrainingSettings() {
  const {config} = useStore("training"), {lr, momentum, batch_size, epochs, optimizer} = trainingRecipe();
  const sizes = [...new Set([16, 32, 64, 128, config.recipe.batch_size, batch_size])].sort((one, other) => one - other);
  const set = (field) => (value) => setSetting(field, value);
  return html`<div class="settings"><${Slider} label="Learning rate" min=${-4} max=${1} step=${0.05}
      value=${Math.log10(lr)} text=${(power) => formatNumber(10 ** power, 2)}
      onInput=${(power) => setSetting("lr", 10 ** power)} />
    ${optimizer === "sgd" && html`<${Slider} label="Momentum" min=${config.recipe.nesterov ? 0.01 : 0} max=${0.99}
      step=${0.01} value=${momentum} onInput=${set("momentum")} />`}
    <${Slider} label="Epochs" min=${1} max=${Math.max(40, config.recipe.epochs)} value=${epochs}
      onInput=${set("epochs")} />
    <${Choice} label="Batch size" value=${batch_size} onChange=${set("batch_size")}
      options=${sizes.map((value) => ({value, title: String(value)}))} /></div>`;
}

function TrainingButtons() {
  const {training, config, seed, variant, origin} =
    useStore("training", "seed", "variant", "origin", "edits", "changedWeights");
  const {isRunning, numbers, isReset, start, problem} = training;
  const {epochs, optimizer, schedule} = trainingRecipe();
  const isDone = isTrained(), hasSeeds = config.variants[variant].seeds.length > 0;
  const button = (title, steps, kind) => html`<button class=${kind} disabled=${isRunning || isDone}
    onClick=${() => attempt(() => trainFor(steps))}>${title}</button>`;
  const from = hasSeeds && start === "initial" ? `the initial weights of seed ${seed}` : "the run's weights";
  const changes = isChangedByHand() ? `, ${isReset ? "with" : "without"} your changes` : "";
  return html`<div class="buttons">
      ${isRunning ? html`<button class="main" onClick=${() => session.call("pause")}>Pause</button>`
        : button(numbers && isReset && !isDone ? "Continue" : "Run", Infinity, "main")}
      ${button("One epoch", "epoch")}${button("One step", 1)}
      <button disabled=${isRunning} onClick=${() => attempt(() => resetTraining())}>Reset</button>
      ${origin.kind !== "trained" && html`<button disabled=${isRunning} onClick=${() => attempt(restoreRun)}>
        Restore the trained network</button>`}</div>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <p class="quiet" role="status">${numbers
      ? `Epoch ${numbers.epoch} of ${epochs}, step ${numbers.step} of ${numbers.stepsPerEpoch}: loss ` +
        `${formatNumber(numbers.loss)} at a learning rate of ${formatNumber(numbers.lr, 3)}.` +
        (!isReset && !isRunning ? " The next training starts anew, from the initial weights."
          : isDone ? " Reset to train anew." : " Settings that you change now hold from the next step on.")
      : isRunning ? "The first step is being computed …"
      : `${isReset ? "The network has" : "A training starts from"} ${from}${changes}. ` +
        `Optimizer ${optimizer}, schedule ${schedule}.`}</p>`;
}

/** The kinds of the networks that train. */
function kindsOfNetworks({config, variant} = store.state) {
  return config.variants[variant].skip ? ["residual", "plain"] : ["plain", "residual"];
}

/** Say which networks no longer learn: no gradient reaches their first layer. */
function DeadNetworks() {
  const {training: {norms}} = useStore("training", "variant"), networks = Object.keys(LEARNERS);
  const dead = kindsOfNetworks().filter((_, index) => Object.values(norms[networks[index]] ?? {})[0] === 0);
  return dead.length > 0 && html`<p class="problem" role="status">No gradient reaches the first layer of the
    ${" "}${dead.join(" and the ")} network: the numbers behind a ReLU are all 0, and nothing more is learned. Reset,
    and try a lower learning rate.</p>`;
}

function TrainingCharts() {
  const {training: {losses, records, norms, hasTwin}, config} = useStore("training", "variant");
  const kinds = kindsOfNetworks();
  const line = (of) => Object.entries(LEARNERS).slice(0, hasTwin ? 2 : 1).map(([network, colour], index) =>
    ({title: `${kinds[index]} network`, colour, points: of(network)}));
  const layers = Object.keys(norms.main ?? {}).filter((key) => store.state.weights[key]?.shape.length > 1);
  const accuracies = (epochs) => epochs.map(({epoch, test_accuracy}) => [epoch, test_accuracy]);
  const python = {title: "the Python run", colour: "shadow", points: accuracies(config.history)};
  const accuracy = line((network) => accuracies(records[network]));
  const profile = (network) => layers.map((key, index) => [index + 1, norms[network]?.[key]]);
  const hasNorms = line(profile).some(({points}) => points.some(([, norm]) => norm > 0));
  if (!losses.main.length) return null;
  return html`<div class="charts">
    <${LineChart} title="Loss" xLabel="step" yLabel="loss" series=${line((network) => losses[network])} />
    ${records.main.length > 0 && html`<${LineChart} title="Accuracy on the test images" xLabel="epoch" yLabel="accuracy"
      series=${isRunsOwn() ? [python, ...accuracy] : accuracy} />`}
    ${hasNorms && html`<${LineChart} title="Gradient norm of each layer's weights, logarithmic" log=${true}
      xLabel="layer, from the first to the last" yLabel="norm" series=${line(profile)} />`}</div>`;
}

/** What a step did to one weight: from its gradient to its new value. */
function WeightUpdate() {
  const {training: {update, isRunning, numbers}, weight, weights} = useStore("training", "weight", "weights");
  const {key, index} = weight ?? firstWeight(), last = weights[key].data.length - 1;
  const keys = Object.keys(weights).filter((name) => !/\.(running_|num_)/.test(name));
  const choose = (next) => store.set({weight: {key, index, ...next}});
  const chooseIndex = ({target}) => choose({index: Math.max(0, Math.min(last, Math.round(target.value) || 0))});
  return html`<h3>What one step does to a weight</h3><p class="row"><select aria-label="parameter" value=${key}
      onChange=${({target}) => choose({key: target.value, index: 0})}>
      ${keys.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
    <label>number <input type="number" min="0" max=${last} value=${index} onChange=${chooseIndex} />
      ${" "}${indicesOf(index, weights[key].shape)}</label>
    <button disabled=${isRunning || isTrained()} onClick=${() => attempt(() => trainFor(1))}>Train one step</button>
    </p>
    ${update && html`<${UpdateTerms} update=${update} lr=${numbers.lr} />`}`;
}

/** The optimizer's lines for one weight, with its numbers; each line has those of the lines above it. */
function UpdateTerms({update: {key, before, after, gradient, carried, carriedBefore}, lr}) {
  const {optimizer, momentum, nesterov, weight_decay, weight_decay_scope, body_lr} = trainingRecipe();
  const number = (value = 0) => formatNumber(value, 5);
  const decay = weight_decay_scope === "all" || store.state.weights[key].shape.length > 1 ? weight_decay : 0;
  const rate = key.startsWith("fc.") ? lr : lr * body_lr, g = gradient + decay * before, isAdam = optimizer !== "sgd";
  const rows = [
    ["gradient", "", gradient],
    decay && optimizer !== "adamw" && ["with weight decay g", `gradient + ${number(decay)} · ${number(before)}`, g],
    isAdam && ["mean of g", `was ${number(carriedBefore.mean)}`, carried.mean],
    isAdam && ["mean of g²", `was ${number(carriedBefore.square)}`, carried.square],
    !isAdam && ["momentum v", `${number(momentum)} · ${number(carriedBefore.momentum)} + g`, carried.momentum],
    ["change", "what the step adds", after - before],
    ["new weight", isAdam ? `${number(before)} − ${number(rate)} · mean / √(mean of g²), corrected for the first steps`
      : `${number(before)} − ${number(rate)} · ${nesterov ? `(g + ${number(momentum)} · v)` : "v"}`, after],
  ].filter(Boolean);
  return html`<table class="terms"><tbody>${rows.map(([title, formula, value]) => html`<tr key=${title}>
    <th scope="row">${title}</th><td class="quiet">${formula}</td><td class="number">${
    formatNumber(value, title === "new weight" ? 8 : 5)}</td></tr>`)}</tbody></table>`;
}

/** How near the training here comes to the weights of the Python run. */
function SameAsPython() {
  const {training: {difference}, config: {run}} = useStore("training");
  if (!difference) return null;
  const {key, difference: size} = difference, digits = Math.floor(-Math.log10(size)), isSame = digits >= 3;
  const largest = html`the largest difference of a weight is ${formatNumber(size, 3)}, in ${key}.`;
  return html`<p class="sum" role="status">${size === 0 ? "All weights are those of the Python run, to the last bit."
    : isSame ? html`Same as the Python run to ${digits} decimal places: ${largest}`
    : html`The weights differ from those of the Python run: ${largest}`}
    ${run.dtype !== "float64" && html` The run computed in ${run.dtype}, the page in float64. Each step adds to what
      rounding has changed, most where numbers in max pooling are almost equal, or one is almost 0 in ReLU.
      ${run.twin && html` The same training in float64: <code>${run.twin}</code>`}`}
    ${run.dtype === "float64" && !isSame && " What this training leaves out is said at the head of the page."}</p>`;
}

/** Hear of the worker's steps, and of changes by hand with which steps are taken. */
function listenToTraining() {
  listenToTraining.done = true;
  session.on("step", receiveStep);
  session.on("epoch", receiveEpoch);
  store.subscribe(({training: {isPure, numbers}}) => {
    if (isPure && numbers && isChangedByHand()) setTraining({isPure: false});
  });
}

function Train() {
  useEffect(() => {
    if (!listenToTraining.done) listenToTraining();
  }, []);
  return html`<h2>Train it here</h2><${Settings} /><${TrainingButtons} />
    <${SameAsPython} /><${DeadNetworks} /><${TrainingCharts} /><${WeightUpdate} />`;
}

PANELS.push({key: "train", title: "Train", component: Train, needsImages: true});
