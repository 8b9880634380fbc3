"use strict";
// The panel "Look": why one class and not another.

/** A choice of one class. */
function ClassSelect({ label, value, onChange }) {
  const { classes } = store.state.config;
  return html`<select aria-label=${label} value=${value} onChange=${(event) => onChange(Number(event.target.value))}>
    ${classes.map((title, place) => html`<option key=${place} value=${place}>${title}</option>`)}</select>`;
}

/** The difference of two logits as terms of the linear layer: of each channel of the last maps, and of each place. */
function logitDifference(first, second) {
  const flow = flowOf(store.state.graph), last = flow.at(-1), inputs = tensor(last.inputs[0]), count = inputs.length;
  const weights = weightValues(`${last.name}.weight`), maps = flow.findLast(({ shape }) => shape.length === 3);
  const size = product(maps.shape.slice(1)), channels = new Float64Array(maps.shape[0]), places = new Float64Array(size);
  inputs.forEach((x, input) => {
    const value = x * (weights[first * count + input] - weights[second * count + input]);
    channels[Math.floor(input / size)] += value;
    places[input % size] += value;
  });
  return { last, maps, channels, places };
}

function Look() {
  const { graph } = useStore("trace", "graph"), [pair, setPair] = useState([null, null]);
  const logits = tensor(flowOf(graph).at(-1).name), order = range(logits.length).sort((one, other) => logits[other] - logits[one]);
  const first = pair[0] ?? order[0], second = pair[1] ?? order.find((place) => place !== first);
  const { last, maps, channels, places } = logitDifference(first, second), bias = weightValues(`${last.name}.bias`);
  const terms = Array.from(channels, (value, channel) => ({ value, label: () => html`<button class="link"
    onClick=${() => store.set({ layer: maps.name, channel, hover: null })}>${maps.name}, channel ${channel}</button>` }));
  return html`<h2>Why <${ClassSelect} label="this class" value=${first} onChange=${(place) => setPair([place, second])} />
      ${" and not "}<${ClassSelect} label="the other class" value=${second} onChange=${(place) => setPair([first, place])} />?</h2>
    <p>The class with the largest logit is predicted. The difference of two logits is a sum: each input of the last layer,
      times the difference of its two weights.</p>
    <div class="row top"><div class="grow"><${Terms} terms=${terms} first=${5} /></div>
      ${places.length > 1 && html`<div><h4>The same sum by place in the image</h4><${NumberMap} values=${places} cell=${34}
        label="What each place of ${maps.name} adds to the difference" shape=${maps.shape.slice(1)} /></div>`}</div>
    <${SumCheck} engine=${logits[first] - logits[second]} parts=${[{ label: "all terms", value: sumOfTerms(terms) },
      { label: "difference of the biases", value: bias[first] - bias[second] }]} />`;
}

PANELS.push({ key: "look", title: "Look", component: Look });
