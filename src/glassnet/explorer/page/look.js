"use strict";
// The panel "Look": why one class and not another.

/** A choice of one class. */
function ClassSelect({label, value, onChange}) {
  const {classes} = store.state.config;
  return html`<select aria-label=${label} value=${value} onChange=${(event) => onChange(Number(event.target.value))}>
    ${classes.map((title, place) => html`<option key=${place} value=${place}>${title}</option>`)}</select>`;
}

/** The difference of two logits as terms of the linear layer: of each channel of the last maps, and of each place. */
function logitDifference(first, second) {
  const flow = shownFlow(), last = flow.at(-1), inputs = tensor(last.inputs[0]), count = inputs.length;
  const weights = shownWeight(`${last.name}.weight`), maps = flow.findLast(({shape}) => shape.length === 3);
  const size = product(maps.shape.slice(1)), places = new Float64Array(size);
  const channels = new Float64Array(maps.shape[0]);
  inputs.forEach((x, input) => {
    const value = x * (weights[first * count + input] - weights[second * count + input]);
    channels[Math.floor(input / size)] += value;
    places[input % size] += value;
  });
  return {last, maps, channels, places};
}

function Look() {
  const {trace: {logits: all}, config} = useStore("trace"), [pair, setPair] = useState([null, null]);
  const logits = all.subarray(0, config.classes.length);
  const order = range(logits.length).sort((one, other) => logits[other] - logits[one]);
  const first = pair[0] ?? order[0], second = pair[1] ?? order.find((place) => place !== first);
  const {last, maps, channels, places} = logitDifference(first, second), bias = shownWeight(`${last.name}.bias`);
  const go = (channel) => store.set({layer: maps.name, channel, hover: null});
  const terms = Array.from(channels, (value, channel) => ({value, label: () => html`<button class="link"
    onClick=${() => go(channel)}>${maps.name}, channel index ${channel}</button>`}));
  const select = (label, value, onChange) => html`<${ClassSelect} ...${{label, value, onChange}} />`;
  return html`<h2>Why ${select("this class", first, (place) => setPair([place, second]))} and not
      ${" "}${select("the other class", second, (place) => setPair([first, place]))}?</h2>
    <p>The class with the largest logit is predicted. The difference of two logits is a sum: each input of the last
      layer, times the difference of its two weights.</p>
    <div class="row top"><div class="grow"><${Terms} terms=${terms} first=${5} /></div>
      ${places.length > 1 && html`<div><h4>The same sum by place in the image</h4>
        <${NumberMap} values=${places} shape=${maps.shape.slice(1)} cell=${34}
          label="What each place of ${maps.name} adds to the difference" /></div>`}</div>
    <${SumCheck} engine=${logits[first] - logits[second]} parts=${[{label: "all terms", value: sumOfTerms(terms)},
      {label: "difference of the biases", value: bias[first] - bias[second]}]} />`;
}

PANELS.push({key: "look", title: "Look", component: Look});
