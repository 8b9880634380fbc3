"use strict";
// The page is put together: data unpacked, worker started, first image shown.

/** The bytes of a deflated text in base64. */
async function inflate(base64) {
  const deflated = new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]);
  return new Response(deflated.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/** The panels under their tabs; arrow keys go from tab to tab. */
function Tabs() {
  const {panel, config} = useStore("panel", "config"), index = Math.max(0, PANELS.findIndex(({key}) => key === panel));
  const current = PANELS[index], move = (event) => {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!by) return;
    const next = PANELS[(index + by + PANELS.length) % PANELS.length];
    store.set({panel: next.key});
    document.getElementById(`tab-${next.key}`).focus();
  };
  return html`<div role="tablist" aria-label="What to do" onKeyDown=${move}>${PANELS.map(({key, title}) => html`
      <button key=${key} role="tab" id="tab-${key}" aria-selected=${key === current.key} aria-controls="panel"
        tabindex=${key === current.key ? 0 : -1} onClick=${() => store.set({panel: key})}>${title}</button>`)}</div>
    <div role="tabpanel" id="panel" aria-labelledby="tab-${current.key}">
      <${current.needsImages && !config.data.n_test ? WithoutImages : current.component} key=${current.key} /></div>`;
}

/** What a panel says that cannot do its work: it trains on images of the run's data. */
function WithoutImages() {
  return html`<p>This needs labelled images of the run's data, and the page has none. With
    <code> glassnet explore ${store.state.config.run.path} --data FOLDER</code> it has those of a folder.</p>`;
}

/** The image, the class that the network predicts for it, and the probabilities: of 12 classes at most. */
function Prediction() {
  const {trace, config: {classes, normalization}} = useStore("trace"), {image} = trace.of;
  const probabilities = trace.probabilities.subarray(0, classes.length), predicted = indexOfLargest(probabilities);
  const shown = range(classes.length), last = shownFlow().at(-1).name;
  if (classes.length > 12) shown.sort((one, other) => probabilities[other] - probabilities[one]).splice(12);
  const label = image.label === null ? ", without a label" : image.label === predicted ?
    `; its label is ${classes[predicted]} too` : html`; its label is <strong>${classes[image.label]}</strong>`;
  if (image.isEmpty) return html`<section class="prediction"><div><h2>Nothing to classify yet</h2>
    <p class="quiet">The tab Draw takes an image.</p></div></section>`;
  return html`<section class="prediction" aria-labelledby="prediction-title">
    <${Photo} ...${image} white=${normalization.scale} />
    <div><h2 id="prediction-title">Predicted class: ${classes[predicted]}</h2>
      <p class="quiet">${image.title}${label}</p></div>
    <table class=${`terms${classes.every(({length}) => length < 3) ? " digits" : ""}`}>
    <caption class="unseen">Probabilities</caption><tbody>${shown.map((place) => html`
      <tr key=${place}><th scope="row"><button class="link" onClick=${() => chooseNumber(last, place)}>${
          classes[place]}</button></th>
      <td><i class="bar whole"><b style="width: ${100 * probabilities[place]}%"></b></i></td>
      <td class="number">${(100 * probabilities[place]).toFixed(1)}%</td></tr>`)}</tbody></table></section>`;
}

/** The pixels of an image, enlarged; white is the largest number. */
function Photo({tensor: {shape: [, channels, height, width], data}, white, title, size = 112}) {
  const canvas = useRef();
  useEffect(() => {
    const pixels = new ImageData(width, height), count = height * width;
    for (let place = 0; place < count; place++) {
      const colours = [0, 1, 2].map((channel) => 255 * data[Math.min(channel, channels - 1) * count + place] / white);
      pixels.data.set([...colours, 255], 4 * place);
    }
    canvas.current.getContext("2d").putImageData(pixels, 0, 0);
  }, [data]);
  const scale = size / Math.max(height, width);
  return html`<canvas ref=${canvas} class="photo" width=${width} height=${height} role="img" aria-label=${title}
    style="width: ${width * scale}px; height: ${height * scale}px"></canvas>`;
}

function App() {
  const {trace, problem, config} = useStore("trace", "problem", "config");
  return html`${problem && html`<p class="problem" role="alert">${problem}</p>`}
    ${config?.run.notes.map((note) => html`<p key=${note} class="quiet">${note}</p>`)}
    ${!trace && !problem && html`<p class="quiet" role="status">The network is being unpacked …</p>`}
    ${trace && html`<div class="desk"><${Prediction} /><section class="panel"><${Tabs} /></section></div>
      <${NetworkView} /><div class="bench"><${LayerMaps} /><${WhyThisNumber} /></div>`}`;
}

/** An image of zeros, for a page without images. */
function blankImage({input: {size, channels}}) {
  const tensor = {shape: [1, channels, ...size], data: new Float64Array(channels * product(size))};
  return {tensor, label: null, title: "blank image", isEmpty: true};
}

/** Unpack the data, start the worker, and show the first test image. */
async function start() {
  const text = (id) => document.getElementById(id).textContent;
  render(html`<${App} />`, document.getElementById("app"));
  const bytes = await inflate(JSON.parse(text("payload")));
  session = new Session(text("engine"));
  dataset = openPayload(bytes);
  const {config} = await session.call("open", bytes);
  const image = config.data.n_test ? dataImage("test", 0) : blankImage(config);
  darkScheme.addEventListener("change", () => store.replace({dark: darkScheme.matches}));
  const {graph} = config.variants[0];
  store.replace({config, seed: config.seeds[0], graph, layer: flowOf(graph)[1].name, image});
  const stop = store.subscribe(({trace, layer}) => { // the first number to explain is the layer's largest
    if (!trace) return;
    stop();
    chooseNumber(layer, indexOfLargest(valuesOf(layer)));
    openView();
    store.forget(); // the view is where the reader begins
    addEventListener("hashchange", openView);
  });
  await refreshWeights({origin: {kind: "trained"}});
}

const tracer = new Tracer();
start().catch((error) => store.replace({problem: error.message}));
