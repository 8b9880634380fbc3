"use strict";
// The page is put together: data unpacked, worker started, first image shown.

/** The bytes of a deflated text in base64. */
async function inflate(base64) {
  const deflated = new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]);
  return new Response(deflated.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/** The panels under their tabs; arrow keys go from tab to tab. */
function Tabs() {
  const { panel } = useStore("panel");
  const index = Math.max(0, PANELS.findIndex(({ key }) => key === panel)), current = PANELS[index];
  const move = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = PANELS[(index + by + PANELS.length) % PANELS.length];
    store.set({ panel: next.key });
    document.getElementById(`tab-${next.key}`).focus();
  };
  if (!current) return null;
  return html`<div role="tablist" onKeyDown=${move}>${PANELS.map(({ key, title }) => html`<button key=${key} role="tab"
      id="tab-${key}" aria-selected=${key === current.key} aria-controls="panel" tabindex=${key === current.key ? 0 : -1}
      onClick=${() => store.set({ panel: key })}>${title}</button>`)}</div>
    <div role="tabpanel" id="panel" aria-labelledby="tab-${current.key}"><${current.component} key=${current.key} /></div>`;
}

function App() {
  const { trace, problem } = useStore("trace", "problem");
  return html`${problem && html`<p class="problem" role="alert">${problem}</p>`}
    ${trace && html`<${Tabs} /><${NetworkView} /><${LayerMaps} /><${WhyThisNumber} />`}`;
}

/** Unpack the data, start the worker, and show the first test image. */
async function start() {
  const text = (id) => document.getElementById(id).textContent;
  const bytes = await inflate(JSON.parse(text("payload")));
  dataset = openPayload(bytes.slice(0));
  session = new Session(text("engine"));
  await session.call("open", bytes);
  const { config } = dataset;
  store.replace({ config, seed: config.seeds[0], graph: config.variants[0].graph, image: dataImage("test", 0) });
  await refreshWeights();
  darkScheme.addEventListener("change", () => store.replace({ dark: darkScheme.matches }));
  render(html`<${App} />`, document.getElementById("app"));
}

const tracer = new Tracer();
start().catch((error) => store.replace({ problem: error.message }));
