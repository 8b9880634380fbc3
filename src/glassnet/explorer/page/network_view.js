"use strict";
// The network as a picture, and the maps of the layer that is chosen in it.

/** The picture of the network; a click chooses a layer. */
function NetworkView() {
  const { graph, layer, trace } = useStore("graph", "layer", "trace");
  return html`<section aria-label="The network"><h2>The network</h2>
    <p>${Object.keys(trace.outputs).map((name) => html`<button key=${name} aria-pressed=${name === layer}
      onClick=${() => store.set({ layer: name })}>${name}</button> `)}</p></section>`;
}

/** All maps of the chosen layer for the image. */
function LayerMaps() {
  const { layer, trace, channel, pixel } = useStore("layer", "trace", "channel", "pixel");
  const { shape, data } = trace.outputs[layer];
  if (shape.length < 4) return null;
  return html`<section aria-label="Maps"><h2>${layer}</h2><${NumberMap} label="Maps of ${layer}" values=${data}
    shape=${shape.slice(1)} selected=${[channel, ...pixel]}
    onPick=${([picked, ...place]) => store.set({ channel: picked, pixel: place })} /></section>`;
}
