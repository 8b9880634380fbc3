"use strict";
// The panel "Break": a bug is planted in the backward pass. The loss may fall nevertheless; differences find it.

const EPOCHS_BROKEN = 3;
const HIDDEN = "hidden";
const LARGE = 50_000; // numbers of a network of which fewer gradients are compared, on fewer images

// choice: the bug to plant next; bug: the one that rows and losses are of; isHidden: whether only the check knows it
// losses: of both networks [step, loss]; failure: why the training with the bug ended early
const NOTHING_CHECKED = {rows: [], losses: {correct: [], broken: []}, failure: null};

store.replace({breaking: {bugs: null, choice: null, bug: null, isHidden: false, isRunning: false, ...NOTHING_CHECKED}});

function setBreaking(changes) {
  store.replace({breaking: {...store.state.breaking, ...changes}});
}

/** Train with and without the bug from the same weights, and check its gradients meanwhile. */
async function plantBug() {
  const {variant, seed, config, breaking: {bugs, choice}} = store.state;
  const keys = Object.keys(bugs), isHidden = choice === HIDDEN;
  const bug = isHidden ? keys[Math.floor(Math.random() * keys.length)] : choice;
  const hasSeed = config.variants[variant].seeds.includes(seed);
  setBreaking({bug, isHidden, isRunning: true, ...NOTHING_CHECKED});
  try {
    const start = {variant: hasSeed ? variant : 0, seed, weights: hasSeed ? "initial" : "trained"};
    for (const network of ["correct", "broken"]) await session.call("choose", {network, ...start});
    const train = (network, planted) =>
      session.call("train", {network, epochs: EPOCHS_BROKEN, warmup: 0, ...pageSettings(), bug: planted});
    const size = Object.values(store.state.weights).reduce((sum, {data}) => sum + data.length, 0);
    const amount = size < LARGE ? {count: 2, images: 4} : {count: 1, images: 2};
    const check = session.call("check", {network: "broken", bug, ...amount});
    const broken = train("broken", bug).catch(({message: failure}) => setBreaking({failure}));
    await Promise.all([check, train("correct", null), broken]);
  } finally {
    setBreaking({isRunning: false});
  }
}

function receiveLoss({network, epoch, step, stepsPerEpoch, loss}) {
  const {losses} = store.state.breaking, point = [(epoch - 1) * stepsPerEpoch + step, loss];
  if (network in losses) setBreaking({losses: {...losses, [network]: [...losses[network], point]}});
}

/** The comparisons by parameter, as backward reaches them: {key, passed (null if all are at kinks), kinks, worst}. */
function checkedParameters(rows) {
  const byKey = new Map();
  for (const row of rows) byKey.set(row.key, [...(byKey.get(row.key) ?? []), row]);
  return [...byKey].map(([key, compared]) => {
    const smooth = compared.filter(({kink}) => !kink);
    const worst = smooth.reduce((one, other) => !one || other.error > one.error ? other : one, null);
    const passed = worst ? smooth.every((row) => row.passed) : null;
    return {key, worst, kinks: compared.length - smooth.length, passed};
  });
}

function Verdict({parameters, isRunning}) {
  const wrong = parameters.find(({passed}) => passed === false);
  const right = parameters.slice(0, parameters.indexOf(wrong)).findLast(({passed}) => passed);
  if (!wrong && (isRunning || !parameters.length)) return null;
  if (!wrong) return html`<p class="sum">All gradients agree with the central differences.</p>`;
  return html`<p class="sum" role="status">The gradient of <strong>${wrong.key}</strong> is wrong.
    ${wrong === parameters[0] && html` Backward begins there: the mistake is in the last layer, or in the loss. The
      gradient is ${formatNumber(wrong.worst.backward / wrong.worst.difference)} times the difference.`}
    ${right && html` Backward runs from the last layer to the first, and to ${right.key} all is right: the mistake is
      in what lies between them.`}</p>`;
}

function CheckTable({parameters}) {
  return html`<table class="terms"><caption class="unseen">Gradients and central differences</caption>
    <thead><tr>${["parameter", "flat index", "by backward", "by differences", ""].map((title) =>
      html`<th scope="col">${title}</th>`)}</tr></thead>
    <tbody>${parameters.map(({key, worst, passed, kinks}) => html`<tr key=${key}><th scope="row">${key}</th>
      <td class="number">${worst?.index}</td><td class="number">${formatNumber(worst?.backward)}</td>
      <td class="number">${formatNumber(worst?.difference)}</td>
      <td>${worst ? (passed ? "right" : html`<strong class="wrong">wrong</strong>`) : "kink"}
        ${worst && kinks > 0 && html`<small> and ${kinks} at a kink</small>`}</td></tr>`)}</tbody></table>
    ${parameters.some(({kinks}) => kinks) && html`<p class="quiet">At a kink, an input of ReLU changes its sign
      between both sides, or another pixel becomes the largest of its window. The loss has no derivative there, so
      nothing is compared.</p>`}`;
}

async function openBreaking() {
  const bugs = await session.call("bugs", {});
  setBreaking({bugs, choice: Object.keys(bugs)[0]});
  session.on("step", receiveLoss);
  session.on("check", (row) => setBreaking({rows: [...store.state.breaking.rows, row]}));
}

function Break() {
  const {breaking: {bugs, choice, bug, isHidden, isRunning, rows, losses, failure}} = useStore("breaking");
  useEffect(() => {
    if (!bugs) attempt(openBreaking);
  }, []);
  if (!bugs) return null;
  const parameters = checkedParameters(rows);
  const options = [...Object.entries(bugs).map(([value, {title}]) => ({value, title})),
    {value: HIDDEN, title: "A hidden one"}];
  const course = (points) => `${formatNumber(points[0]?.[1])} to ${formatNumber(points.at(-1)?.[1])}`;
  const series = [{title: "without a bug", colour: "accent", points: losses.correct},
    {title: isHidden ? "with the hidden bug" : "with the bug", colour: "second", points: losses.broken}];
  return html`<h2>Plant a bug in the backward pass</h2>
    <${Choice} label="Bug" value=${choice} onChange=${(chosen) => setBreaking({choice: chosen})}
      options=${options} disabled=${isRunning} />
    ${choice === HIDDEN ? html`<p>One of these bugs, drawn at random. Where do the gradients begin to be wrong?</p>
      <ul>${Object.values(bugs).map(({sentence}) => html`<li>${sentence}</li>`)}</ul>`
      : html`<p>${bugs[choice].sentence}</p>`}
    <div class="buttons">${isRunning ? html`<button class="main" onClick=${() => session.call("pause")}>Stop</button>`
      : html`<button class="main" onClick=${() => attempt(plantBug)}>Plant, train and check</button>`}
      ${isHidden && html`<button onClick=${() => setBreaking({choice: bug, isHidden: false})}>Reveal</button>`}</div>
    ${bug && html`<p class="quiet">Planted: ${isHidden ? "a hidden bug" : bugs[bug].title}.</p>`}
    <${Verdict} parameters=${parameters} isRunning=${isRunning} />
    <div class="columns halves">
      ${parameters.length > 0 && html`<div><h3>Each gradient against a central difference</h3>
        <${CheckTable} parameters=${parameters} /></div>`}
      ${losses.broken.length > 0 && html`<div><${LineChart} xLabel="step" yLabel="loss" series=${series}
        title="Loss without a bug: ${course(losses.correct)}; with it: ${course(losses.broken)}" />
        ${failure && html`<p class="quiet">With the bug: ${failure}</p>`}</div>`}</div>`;
}

PANELS.push({key: "break", title: "Break", component: Break, needsImages: true});
