"use strict";
// Images to ask the network about: drawn by hand, read from a file, or chosen among the run's own, mistakes first.

const FIELD = 280; // side of the drawing field, in pixels
const PEN = 22; // width of the pen
const CURSOR_STEP = 0.05; // of the field's side, by one arrow key
const SHOWN_AT_ONCE = 40; // images in the list

let classified = {key: null}; // the newest predictions of a split, and the split and network that they are of
const drawing = {strokes: [], cursor: [0.5, 0.2], isDown: false, isFirst: false}; // strokes: lists of [x, y] in sides of the field

/** Return the image that the network reads of an RGB image, in the state's form, brought to size as in Python. */
function readImage(image, title) {
  const {input, normalization: {scale}} = store.state.config, {channels, size: [height, width]} = input;
  const ink = input.kind === "digits" ? readInk(image) : null;
  const levels = ink?.pixels ?? resizeToFit(channels === 1 ? toGray(image) : image, width, height, input.fit).values;
  const data = new Float64Array(levels.length);
  levels.forEach((level, index) => { // rows of pixels with their channels become channels of rows
    data[(index % channels) * width * height + Math.floor(index / channels)] = level * scale / 255;
  });
  const steps = ink?.steps ?? `${image.width}×${image.height} pixels brought to ${width}×${height} (${input.fit})`;
  const tensor = {shape: [1, channels, height, width], data}, problem = ink?.problem;
  return {tensor, label: null, title, steps, problem, isEmpty: problem === NO_INK};
}

/** Decode an image file without colour profiles, turned upright, and read it; transparent parts are paper. */
async function readFile(file) {
  const bitmap = await createImageBitmap(file, {colorSpaceConversion: "none", imageOrientation: "from-image"});
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const image = readImage(onPaper(pixels, 255), file.name);
  const isTransparent = () => pixels.data.some((level, index) => index % 4 === 3 && level < 255);
  return image.problem === NO_INK && isTransparent() ? readImage(onPaper(pixels, 0), file.name) : image; // white ink
}

/** Show an image file that the reader chose or dropped, or beside the button say why it cannot be shown. */
async function openFile(file) {
  if (!file || !store.state.config) return;
  try {
    store.set({image: await readFile(file)});
  } catch {
    const size = file.size === 1 ? "1 byte" : `${file.size.toLocaleString("en")} bytes`;
    const text = `${file.name} must be an image that this browser can read. Got ${size} that it cannot decode.`;
    store.replace({panel: "draw", refusedFile: {text, image: store.state.image}});
  }
}

addEventListener("dragover", (event) => event.preventDefault()); // or the browser would leave the page for the file
addEventListener("drop", (event) => {
  event.preventDefault();
  openFile(event.dataTransfer.files[0]);
});

/** Draw all strokes, and the pen of the keyboard where it is used, as dark ink on white paper. */
function paintStrokes(context, hasCursor = false) {
  context.fillStyle = "white";
  context.fillRect(0, 0, FIELD, FIELD);
  Object.assign(context, {lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "black"});
  for (const stroke of drawing.strokes) {
    context.beginPath();
    for (const [x, y] of [stroke[0], ...stroke]) context.lineTo(x * FIELD, y * FIELD);
    context.stroke();
  }
  if (!hasCursor) return;
  Object.assign(context, {lineWidth: 3, strokeStyle: drawing.isDown ? "#d03050" : "#3060d0"});
  context.beginPath();
  context.arc(drawing.cursor[0] * FIELD, drawing.cursor[1] * FIELD, PEN / 2, 0, 7);
  context.stroke();
}

/** Read the strokes as an image and show it; the first change of a stroke can be undone, the others belong to it. */
function readStrokes({isFirst = false} = {}) {
  const context = new OffscreenCanvas(FIELD, FIELD).getContext("2d", {willReadFrequently: true});
  paintStrokes(context);
  const image = readImage(onPaper(context.getImageData(0, 0, FIELD, FIELD), 255), "drawn digit");
  drawing.isFirst ||= isFirst;
  if (image.isEmpty && drawing.strokes.length) return; // a point has no ink yet; the page must not move under the pen
  if (drawing.isFirst) store.set({image});
  else store.replace({image});
  drawing.isFirst = false;
}

/** The field to draw in, by mouse, finger, pen or keyboard. */
function DrawingField() {
  const canvas = useRef(), [hasCursor, setCursor] = useState(false), frame = useRef(0);
  const paint = (cursor = hasCursor) => paintStrokes(canvas.current.getContext("2d"), cursor);
  useEffect(() => paint(), [hasCursor]);
  const update = (isFirst) => { // at most once for each frame of the screen
    paint();
    if (isFirst) readStrokes({isFirst});
    else frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      readStrokes();
    });
  };
  const place = (event) => {
    const {left, top, width, height} = canvas.current.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  };
  const begin = (point) => {
    drawing.strokes.push([point]);
    update(true);
  };
  const extend = (points) => {
    drawing.strokes.at(-1).push(...points);
    update(false);
  };
  const down = (event) => {
    event.preventDefault();
    canvas.current.setPointerCapture(event.pointerId);
    begin(place(event));
  };
  const move = (event) => {
    if (!canvas.current.hasPointerCapture(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    extend((events.length ? events : [event]).map(place));
  };
  const remove = (count) => {
    drawing.strokes.splice(-count, count);
    drawing.isDown = false;
    update(true);
  };
  const key = (event) => {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (by) {
      drawing.cursor = drawing.cursor.map((value, axis) => clip(value + by[axis] * CURSOR_STEP, 0.05, 0.95));
      if (drawing.isDown) extend([drawing.cursor]);
    } else if (event.key === " " || event.key === "Enter") {
      drawing.isDown = !drawing.isDown;
      if (drawing.isDown) begin(drawing.cursor);
      announce(drawing.isDown ? "Pen down" : "Pen up");
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      if (drawing.strokes.length) remove(1);
    } else return;
    event.preventDefault();
    setCursor(true);
    paint(true);
  };
  return html`<div><canvas ref=${canvas} class="field" width=${FIELD} height=${FIELD} tabindex="0"
      role="application" aria-label="Drawing field. Arrow keys move the pen, the space bar puts it down and lifts it."
      onPointerDown=${down} onPointerMove=${move} onKeyDown=${key} onFocusOut=${() => setCursor(false)}></canvas>
    <p class="quiet">Draw here with the mouse or a finger. By keyboard: arrow keys move the pen, the space bar puts it
      down and lifts it.</p>
    <p class="buttons"><button onClick=${() => remove(1)}>Undo stroke</button>
      <button onClick=${() => remove(drawing.strokes.length)}>Clear</button></p></div>`;
}

/** What the network sees of the image, and what was done to get it. */
function SeenImage() {
  const {image, config, trace} = useStore("image", "trace"), {tensor: {shape, data}} = image;
  const probabilities = trace.probabilities.subarray(0, config.classes.length), best = indexOfLargest(probabilities);
  return html`<div><h3>The network sees ${shape[3]}×${shape[2]} pixels</h3>
    <${NumberMap} label="${image.title} as the network sees it" values=${data} shape=${shape.slice(1)}
      limit=${config.normalization.scale} maxCell=${30} minCell=${1} maxHeight=${240} />
    <p class="quiet">${image.title}${image.steps ? `: ${image.steps}` : ""}.</p>
    ${!image.isEmpty && html`<p>Predicted class: <strong>${config.classes[best]}</strong> ${" "}
      (${(100 * probabilities[best]).toFixed(1)}%)</p>`}
    ${image.problem && html`<p class="problem">This may not be one digit: ${image.problem}.</p>`}</div>`;
}

/** A button that opens an image file; below it, the file that could not be read, until another image is shown. */
function FileChooser() {
  const {image, refusedFile} = useStore("image", "refusedFile"), input = useRef(), refusal = useRef();
  const isRefused = refusedFile?.image === image;
  useEffect(() => refusal.current?.scrollIntoView({block: "nearest"}), [refusedFile]);
  const choose = ({target}) => {
    openFile(target.files[0]);
    target.value = ""; // the same file can be chosen again
  };
  return html`<p class="buttons"><button onClick=${() => input.current.click()}>Open an image file</button>
      <input ref=${input} type="file" accept="image/*" hidden onChange=${choose} />
      <span>or drop one anywhere on the page.</span></p>
    ${isRefused && html`<p ref=${refusal} class="problem" role="alert">${refusedFile.text}</p>`}`;
}

/** The images of a split with label and prediction, mistakes first, of all classes or of one. */
function ImageList() {
  const {image, config, weights, edits, changedWeights} = useStore("image", "weights", "edits", "changedWeights");
  const splits = ["test", "train"].filter((split) => dataset.labels[split].data.length);
  const [split, setSplit] = useState(splits[0]), [count, setCount] = useState(SHOWN_AT_ONCE);
  const [shownClass, setClass] = useState(-1); // -1: all
  const [, draw] = useState(0), key = [split, weights, edits, changedWeights];
  const isKnown = classified.key?.every((value, index) => value === key[index]);
  useEffect(() => {
    if (!split || isKnown) return;
    session.call("evaluate", {network: store.state.network, split}).then(({predictions}) => {
      classified = {key, predictions};
      draw((count) => count + 1);
    }, (error) => store.replace({problem: error.message}));
  }, key);
  if (!split) return html`<p>This page has no images of the run's data.</p>`;
  const labels = dataset.labels[split].data, predicted = isKnown ? classified.predictions : null;
  const isWrong = (index) => Boolean(predicted) && predicted[index] !== labels[index];
  const wrong = [...labels.keys()].filter(isWrong).length, name = (index) => config.classes[index];
  const indices = [...labels.keys()].filter((index) => shownClass < 0 || labels[index] === shownClass)
    .sort((a, b) => isWrong(b) - isWrong(a) || a - b);
  return html`<h3>Images of the run's data</h3>
    ${splits.length > 1 && html`<${Choice} label="Set" value=${split} onChange=${setSplit}
      options=${splits.map((value) => ({value, title: value}))} />`}
    <p><label>Class <select value=${shownClass} onChange=${(event) => setClass(Number(event.target.value))}>
      <option value=${-1}>all</option>
      ${config.classes.map((title, value) => html`<option key=${value} value=${value}>${title}</option>`)}
      </select></label></p>
    <p>${predicted ? `The network classifies ${labels.length - wrong} of ${labels.length} images correctly.
      Errors come first, with label → predicted class.` : "The images are being classified …"}</p>
    <ul class="images">${indices.slice(0, count).map((index) => {
      const title = `${name(labels[index])}${isWrong(index) ? ` → ${name(predicted[index])}` : ""}`;
      return html`<li key=${`${split} ${index}`}><button class=${isWrong(index) ? "wrong" : ""}
        aria-pressed=${image.split === split && image.index === index} aria-label=${`${split} image ${index}: ${title}`}
        onClick=${() => store.set({image: dataImage(split, index)})}><${Photo} ...${dataImage(split, index)}
          white=${config.normalization.scale} size=${40} /><span>${title}</span></button></li>`;
    })}</ul>
    ${!indices.length && html`<p class="quiet">This set has no image of this class.</p>`}
    ${count < indices.length &&
      html`<p><button onClick=${() => setCount(count + SHOWN_AT_ONCE)}>Show more</button></p>`}`;
}

function DrawPanel() {
  const {config} = useStore("config"), isDigits = config.input.kind === "digits";
  const ways = [...(isDigits ? ["draw a digit"] : []), "open an image file",
    ...(config.data.n_test ? ["choose an image of the run's data"] : [])].join(", or ");
  return html`<p>${ways[0].toUpperCase()}${ways.slice(1)}. Every number on this page follows.</p>
    <div class="columns">${isDigits && html`<${DrawingField} />`}<${SeenImage} /></div>
    <${FileChooser} />
    <p class="quiet">Nothing leaves this page. A file is read as glassnet predict reads it; only the pixels of JPEG
      files differ slightly, since the browser decodes them.</p>
    <${ImageList} />`;
}

PANELS.push({key: "draw", title: "Draw", component: DrawPanel});
