"use strict";
// The network as a picture, and the maps of the layer that is chosen in it.

/**
 * The steps by which a network computes, in forward order: {name, kind, node, shape, inputs, block, lane}.
 *
 * `name` is the tensor that a step makes, `inputs` the tensors that it reads. A block's input is the tensor before the
 * block; its steps are in the lane "shortcut" or "body", or after the sum of both.
 */
function flowOf(graph) {
  const known = flowOf.known ??= new WeakMap();
  if (known.has(graph)) return known.get(graph);
  const steps = [{name: "input", kind: "Input", shape: graph.input_shape, inputs: []}];
  const add = (nodes, input, block, lane) => { // returns the tensor that leaves the last node
    for (const node of nodes) {
      if (node.kind === "Sequential") input = add(node.children, input, block, lane);
      else if (node.kind === "Residual") input = addBlock(node, input);
      else {
        const {name, kind, output_shape: shape} = node;
        if (kind === "Identity" && lane === "shortcut") continue; // x itself
        steps.push({name, kind, node, shape, inputs: [input], block, lane});
        input = name;
      }
    }
    return input;
  };
  const addBlock = (node, input) => {
    const {name, output_shape: shape} = node;
    let last = add(node.body, input, name, "body");
    if (node.shortcut) {
      const shortcut = add([node.shortcut], input, name, "shortcut");
      steps.push({name: `${name}.sum`, kind: "Sum", shape, inputs: [shortcut, last], block: name, lane: "after"});
      last = `${name}.sum`;
    }
    return node.activation ? add([node.activation], last, name, "after") : last;
  };
  add(graph.children, "input", null, null);
  known.set(graph, steps);
  return steps;
}

/** The steps of the network on screen, and one of them. */
const shownFlow = () => flowOf(store.state.trace.of.graph);
const stepOf = (name) => shownFlow().find((step) => step.name === name);


/** The shape of one image's tensor as maps: [channels, height, width]; a vector is laid out in rows of 16. */
function mapShape(shape) {
  return shape.length === 3 ? shape : [1, Math.ceil(shape[0] / 16), Math.min(shape[0], 16)];
}

/** The numbers of an image (by default the first) of a tensor, or what the loss makes of them. */
function valuesOf(name, {trace, direction} = store.state, image = 0) {
  const {shape} = flowOf(trace.of.graph).find((step) => step.name === name), size = product(shape);
  const values = direction === "gradient" ? trace.outputGradients?.[name] : trace.outputs[name]?.data;
  if (!values) return new Float64Array(size); // a shortcut that is switched off
  return values.subarray(image * size, (image + 1) * size);
}

/** The index of the chosen number among the numbers of one image of its layer. */
function chosenNumber({layer, channel, pixel}) {
  const [channels, height, width] = mapShape(stepOf(layer).shape), clamp = (value, count) => Math.min(value, count - 1);
  return (clamp(channel, channels) * height + clamp(pixel[0], height)) * width + clamp(pixel[1], width);
}

function placeOf(index, shape) {
  const [, height, width] = mapShape(shape);
  return [Math.floor(index / (height * width)), Math.floor(index / width) % height, index % width];
}

/** "conv1[3, 2, 7]": a number by its layer, channel, row and column; a logit by its class. */
function nameOf(name, index) {
  const {shape} = stepOf(name), isLogit = name === shownFlow().at(-1).name;
  const place = isLogit ? store.state.config.classes[index] : index;
  return `${name}[${shape.length === 3 ? placeOf(index, shape).join(", ") : place}]`;
}

/** Choose a number by its layer and index. */
function chooseNumber(name, index) {
  const [channel, ...pixel] = placeOf(index, stepOf(name).shape);
  store.set({layer: name, channel, pixel, hover: null});
}

/** Choose a layer and stay at the same place of the image; of the last layer choose the class predicted. */
function chooseLayer(name) {
  const {layer, pixel, trace} = store.state, {shape} = stepOf(name);
  if (shape.length === 1) {
    return chooseNumber(name, name === shownFlow().at(-1).name ? indexOfLargest(valuesOf(name, {trace})) : 0);
  }
  const before = mapShape(stepOf(layer).shape), after = mapShape(shape);
  const moved = [0, 1].map((axis) => Math.min(after[axis + 1] - 1,
    Math.floor((pixel[axis] + 0.5) * after[axis + 1] / before[axis + 1])));
  store.set({layer: name, pixel: moved, channel: Math.min(store.state.channel, after[0] - 1), hover: null});
}

const BOX_SIZE = 60, STEP = 78, LANE = {shortcut: 48, body: 146}, PICTURE_HEIGHT = 218; // pixels

/** The picture: boxes {name: {step, x, y}} by centre, blocks {name, left, right, ...}, the path of the flow. */
function layoutOf(steps) {
  const boxes = {}, blocks = [];
  let x = 8 + BOX_SIZE / 2, flow = "";
  for (const step of steps) {
    let block = blocks.at(-1);
    if (step.block && step.block !== block?.name) {
      x += 22;
      blocks.push(block = {name: step.block, left: x - BOX_SIZE / 2 - 16, upper: [], sum: null});
    }
    if (!step.block && block && !block.isClosed) {
      x += 22;
      block.isClosed = true;
    }
    if (step.lane === "shortcut") {
      block.upper.push(step); // above the body, whose length is known at the sum
      continue;
    }
    if (step.kind === "Sum") {
      block.sum = step.name;
      block.upper.forEach((upper, index) => {
        const middle = (block.left + x) / 2 + (index - (block.upper.length - 1) / 2) * STEP;
        boxes[upper.name] = {step: upper, x: middle, y: LANE.shortcut};
      });
    }
    boxes[step.name] = {step, x, y: LANE.body};
    if (step.inputs.length) flow += `H${x - (step.kind === "Sum" ? 15 : BOX_SIZE / 2)}`;
    flow += `M${x + (step.kind === "Sum" ? 15 : BOX_SIZE / 2)} ${LANE.body}`;
    if (step.block) block.right = x + BOX_SIZE / 2 + 10;
    x += STEP;
  }
  return {boxes, blocks, flow, width: x - STEP + BOX_SIZE / 2 + 8};
}

/** Paint a small map of the chosen channel into each box: at once where it is seen, and soon in the rest. */
function paintPicture(canvas, frame, boxes, state, width) {
  const scale = devicePixelRatio || 1, {scrollLeft, clientWidth} = frame, seen = [], hidden = [];
  canvas.width = width * scale;
  canvas.height = PICTURE_HEIGHT * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.imageSmoothingEnabled = false;
  for (const box of Object.values(boxes)) {
    const isSeen = box.x + BOX_SIZE > scrollLeft && box.x - BOX_SIZE < scrollLeft + clientWidth;
    if (box.step.kind !== "Sum") (isSeen ? seen : hidden).push(box);
  }
  paintBoxes(context, seen, state);
  const rest = setTimeout(() => paintBoxes(context, hidden, state), 50);
  return () => clearTimeout(rest);
}

function paintBoxes(context, boxes, {trace, direction, channel}) {
  for (const {step, x, y} of boxes) {
    const values = valuesOf(step.name, {trace, direction}), [channels, height, width] = mapShape(step.shape);
    const start = Math.min(channel, channels - 1) * height * width, part = (BOX_SIZE - 8) / Math.max(height, width);
    const small = mapImage(values.subarray(start, start + height * width), width, height, limitOf(values));
    context.drawImage(small, x - part * width / 2, y - part * height / 2, part * width, part * height);
  }
}

/** The size of a gradient: the square root of the sum of its squares. */
const normOf = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** The sizes {shortcut, body} of what each path of a block hands back to its input, for the image on screen. */
function pathSizes(block) {
  const {shortcut, body} = store.state.trace.pathGradients[block];
  const {inputs: [name]} = shownFlow().find((step) => step.block === block), size = product(stepOf(name).shape);
  const sizeOf = (values) => values ? normOf(values.subarray(0, size)) : 0;
  return {shortcut: sizeOf(shortcut), body: sizeOf(body)};
}

/** A block: its frame, its shortcut as a line, and in gradients how much each path hands back to the block's input. */
function BlockFrame({block: {name, left, right, sum, upper}, boxes, trace, direction}) {
  const top = upper.length ? LANE.shortcut : 50, end = sum && boxes[sum].x, isOff = trace.of.edits.skipsOff.has(name);
  const sizes = sum && direction === "gradient" ? pathSizes(name) : null;
  const size = (path) => sizes[path] ? ` ‖${formatNumber(sizes[path], 2)}‖` : "";
  return html`<g class=${isOff ? "block off" : "block"}>
    <rect class="frame" x=${left} y="4" width=${right - left} height=${PICTURE_HEIGHT - 8} rx="8" />
    <text class="name" x=${left + 10} y="20">${name}</text>
    ${sum && html`<path class="shortcut" d="M${left + 2} ${LANE.body} q6 0 6 -8 V${top + 10} q0 -10 10 -10 H${end - 10}
        q10 0 10 10 V${LANE.body - 16}" />
      <text x=${left + 16} y=${top - 6} class="skip-label">${isOff ? "off" : sizes ? `g${size("shortcut")}` :
        "x"}</text>
      <text x=${left + 16} y=${LANE.body - 37} class="body-label">${sizes ? `F′(g)${size("body")}` : "F(x)"}</text>
    `}</g>`;
}

/** The layers of the picture as buttons; arrow keys go from one to the next. */
function LayerBoxes({boxes, layer}) {
  const group = useRef(), order = Object.values(boxes).sort((one, other) => one.x - other.x || one.y - other.y);
  const move = (event) => {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const next = order[order.findIndex(({step}) => step.name === layer) + by];
    if (event.key === "Enter" || event.key === " ") chooseLayer(event.target.dataset.name);
    else if (!next) return;
    else {
      chooseLayer(next.step.name);
      group.current.querySelector(`[data-name="${next.step.name}"]`).focus({preventScroll: true});
    }
    event.preventDefault();
  };
  return html`<g ref=${group} role="group" aria-label="Layers" onKeyDown=${move}>${order.map(({step, x, y}) => {
    const {name, kind, block, shape} = step, below = y + BOX_SIZE / 2;
    return html`<g key=${name} class="box" role="button" data-name=${name} tabindex=${name === layer ? 0 : -1}
        aria-pressed=${name === layer} aria-label="${name}, ${KINDS[kind].title}, ${shape.join("×")}"
        onClick=${() => chooseLayer(name)}><title>${name}</title>
      ${kind === "Sum" ? html`<circle cx=${x} cy=${y} r="15" /><text x=${x} y=${y + 6} class="plus">+</text>` :
        html`<rect x=${x - BOX_SIZE / 2} y=${y - BOX_SIZE / 2} width=${BOX_SIZE} height=${BOX_SIZE} rx="5" />`}
      <text x=${x} y=${below + 14} class="title">${block ? name.slice(block.length) : name}</text>
      ${kind !== "Sum" && html`<text x=${x} y=${below + 27}>${shape.join("×")}</text>`}</g>`;
  })}</g>`;
}

const SENTENCES = {
  forward: "Each box shows a channel of a layer's output. In a block, x takes the shortcut past the body F.",
  gradient: "Each box shows how the loss changes with a channel. ‖ ‖ is the size of what each path hands back to x.",
};

/** The network as a picture; it shows values or gradients, and a click chooses a layer. */
function NetworkView() {
  const state = useStore("layer", "trace", "direction", "channel", "dark"), {layer, trace, direction} = state;
  const canvas = useRef(), frame = useRef(), {graph} = trace.of;
  const {boxes, blocks, flow, width} = useMemo(() => layoutOf(flowOf(graph)), [graph]);
  useEffect(() => paintPicture(canvas.current, frame.current, boxes, state, width));
  useEffect(() => {
    const {x} = boxes[layer], {scrollLeft, clientWidth} = frame.current, isSeen =
      x - BOX_SIZE >= scrollLeft && x + BOX_SIZE <= scrollLeft + clientWidth;
    if (!isSeen) frame.current.scrollLeft = x - clientWidth / 2;
  }, [layer]);
  return html`<section class="network" aria-labelledby="network-title"><div class="row">
      <h2 id="network-title">The network</h2><${Choice} label="Show" value=${direction}
        options=${[{value: "forward", title: "values →"}, {value: "gradient", title: "← gradients"}]}
        onChange=${showDirection} />
      <p class="quiet">${SENTENCES[direction]} <${ViewLink} /></p></div>
    <div class="picture" ref=${frame}><div style="width: ${width}px">
      <svg width=${width} height=${PICTURE_HEIGHT}><path class="flow" d=${flow} />
        ${blocks.map((block) => html`<${BlockFrame} key=${block.name} ...${{block, boxes, trace, direction}} />`)}
        <${LayerBoxes} ...${{boxes, layer}} /></svg>
      <canvas ref=${canvas} style="width: ${width}px"></canvas></div></div></section>`;
}

/** All maps of the chosen layer, and the chosen one enlarged until its numbers can be read. */
function LayerMaps() {
  const state = useStore("layer", "trace", "channel", "pixel", "direction"), {layer, direction, config} = state;
  const [zoom, setZoom] = useState(null), {shape, kind} = stepOf(layer), values = valuesOf(layer);
  const [channels, height, width] = mapShape(shape), [channel, ...pixel] = placeOf(chosenNumber(state), shape);
  const limit = limitOf(values);
  const size = height * width, room = Math.min(352, innerWidth - 32);
  const cell = zoom ?? Math.max(10, Math.min(44, Math.floor(room / Math.max(height, width))));
  const pick = (picked, ...place) => store.set({channel: picked, pixel: place, hover: null});
  const indexAt = ([map, row, column]) => (map * height + row) * width + column;
  const hover = (place) => store.set({hover: place && {layer, index: indexAt(place)}});
  const describe = ([map, row, column], value) => `${channels > 1 ? `channel ${map}, ` : ""}${shape.length === 3 ?
    `row ${row}, column ${column}` : `number ${row * width + column}`}: ${formatNumber(value)}`;
  const what = direction === "gradient" ? `gradients of the loss for class ${config.classes[traceLabel()]}` : "values";
  return html`<section class="maps" aria-labelledby="maps-title"><h2 id="maps-title">${layer}</h2>
    <p class="quiet">${KINDS[kind].title}, ${shape.join("×")} ${what}. <${Scale} limit=${limit} /></p>
    ${channels > 1 && html`<${NumberMap} shape=${[channels, height, width]} ...${{values, limit, describe}}
      label="All ${channels} maps of ${layer}: arrow keys move, page keys change the channel" maxCell=${10}
      selected=${[channel, ...pixel]} onHover=${hover} onPick=${(place) => pick(...place)} />`}
    <h3>${channels > 1 ? `Channel index ${channel} (0 to ${channels - 1})` : "Every number"}</h3>
    <${Zoomed} ...${{cell, limit, shape: [height, width], pixel, label: `${layer}, channel index ${channel}`}}
      values=${values.subarray(channel * size, (channel + 1) * size)}
      describe=${([, ...place], value) => describe([channel, ...place], value)}
      onPick=${([, ...place]) => pick(channel, ...place)}
      onHover=${(place) => hover(place && [channel, place[1], place[2]])} />
    ${size > 64 && html`<${Slider} label="Zoom" min=${4} max=${44} value=${cell} text=${(value) => `${value} px`}
      onInput=${setZoom} />`}</section>`;
}

/** A map in a frame that scrolls to the chosen number. */
function Zoomed({pixel: [row, column], cell, ...map}) {
  const frame = useRef();
  useEffect(() => {
    const {clientWidth, clientHeight} = frame.current;
    frame.current.scrollTo((column + 0.5) * cell - clientWidth / 2, (row + 0.5) * cell - clientHeight / 2);
  }, [map.label, cell]);
  return html`<div class="zoomed" ref=${frame}>
    <${NumberMap} ...${map} cell=${cell} selected=${[0, row, column]} /></div>`;
}
