"use strict";
// Parts that several panels use: maps of numbers, sliders, choices, line charts, and buttons that save them.

const {html, render, useState, useEffect, useRef, useMemo} = htmPreact;
const PANELS = []; // {key, title, component, needsImages}; each panel's script adds its own

/** A number with 4 significant digits, short enough for a cell: 0.02187, −1.5, 3.2e−7. */
function formatNumber(value, digits = 4) {
  if (value === undefined || value === null) return "";
  if (!Number.isFinite(value)) return String(value).replace("-", "−").replace("Infinity", "∞");
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(digits - 2) : value.toPrecision(digits);
  return String(text.includes("e") ? text : Number(text)).replaceAll("-", "−");
}

/** A number of at most five letters, for a cell: −0.76, 12.3, 4e−4. */
function shortNumber(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e4) return formatNumber(value);
  if (size < 0.005 || size >= 1e4) return value.toExponential(0).replaceAll("-", "−").replace("+", "");
  if (!Number.isFinite(value)) return formatNumber(value);
  return value.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0).replace("-", "−");
}

/** Tell a screen reader something. */
function announce(text) {
  document.getElementById("announcement").textContent = text;
}

/** The largest size of the numbers, never 0. */
function limitOf(values) {
  let limit = 0;
  for (const value of values) if (Math.abs(value) > limit) limit = Math.abs(value);
  return limit || 1;
}

const darkScheme = matchMedia("(prefers-color-scheme: dark)");

/** The value of a colour variable of the style sheet as [red, green, blue], in the scheme of the reader. */
function colour(name) {
  const probe = document.getElementById("announcement");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color.match(/\d+/g).map(Number);
}

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

/** The colours that canvases use, {text, diverging}; read again when the scheme changes. */
function palette() {
  const {dark} = store.state;
  if (palette.dark !== dark) {
    const stops = [0, 1, 2, 3, 4].map((index) => colour(`diverging-${index}`));
    palette.diverging = Array.from({length: 257}, (_, index) => { // number 128 stands for 0
      const low = Math.min(3, index >> 6), part = index / 64 - low;
      return [...stops[low].map((value, channel) => value + part * (stops[low + 1][channel] - value)), 255];
    });
    palette.text = css(colour("text"));
    palette.dark = dark;
  }
  return palette;
}

/** The number of the colour of a value from -1 to 1. */
const shade = (value) => Math.round(128 + 128 * Math.max(-1, Math.min(1, value || 0)));

/** Places of `count` tiles of height × width numbers in a width of `room` pixels: the largest cells that fit. */
function arrange(count, height, width, room, {cell: fixed, maxCell = 40, minCell = 2, maxHeight = 300}) {
  const gap = 6;
  for (let cell = fixed ?? maxCell; ; cell--) {
    const stepX = width * cell + gap, stepY = height * cell + gap;
    const rows = Math.ceil(count / Math.max(1, Math.floor((room + gap) / stepX))), columns = Math.ceil(count / rows);
    const size = [columns * stepX - gap, rows * stepY - gap];
    const fits = size[0] <= room && size[1] <= maxHeight;
    if (fixed || fits || cell <= minCell) return {cell, columns, stepX, stepY, size};
  }
}

/** Draw maps on a canvas: a pixel for each number, each map enlarged into its tile, and numbers where they fit. */
function paintMaps(canvas, values, [channels, height, width], grid, selected, limit = limitOf(values)) {
  const {cell, columns, stepX, stepY, size} = grid, colours = palette(), scale = devicePixelRatio || 1;
  [canvas.width, canvas.height] = size.map((length) => length * scale);
  [canvas.style.width, canvas.style.height] = size.map((length) => `${length}px`);
  const context = canvas.getContext("2d"), small = mapImage(values, width, height * channels, limit);
  context.scale(scale, scale);
  context.imageSmoothingEnabled = false;
  const corner = (channel) => [(channel % columns) * stepX, Math.floor(channel / columns) * stepY];
  const frame = (channel, row, column, tall, wide, line) => {
    const [left, top] = corner(channel), x = left + column * cell + line / 2, y = top + row * cell + line / 2;
    Object.assign(context, {strokeStyle: colours.text, lineWidth: line});
    context.strokeRect(x, y, wide * cell - line, tall * cell - line);
  };
  for (let channel = 0; channel < channels; channel++) {
    context.drawImage(small, 0, channel * height, width, height, ...corner(channel), width * cell, height * cell);
  }
  if (cell >= 30) {
    Object.assign(context, {fillStyle: colours.text, textAlign: "center", textBaseline: "middle"});
    context.font = `${cell / 3.6}px system-ui, sans-serif`;
    values.forEach((value, index) => {
      const [left, top] = corner(Math.floor(index / (height * width))), row = Math.floor(index / width) % height;
      context.fillText(shortNumber(value), left + (index % width + 0.5) * cell, top + (row + 0.5) * cell);
    });
  }
  if (selected && channels > 1) frame(selected[0], 0, 0, height, width, 1);
  if (selected) frame(...selected, 1, 1, Math.max(1, Math.min(3, cell / 5)));
}

/** A small canvas with a pixel for each number. */
function mapImage(values, width, height, limit) {
  const canvas = new OffscreenCanvas(width, height), pixels = new ImageData(width, height);
  const colours = palette().diverging;
  for (let index = 0; index < Math.min(values.length, width * height); index++) { // a vector may end within a row
    pixels.data.set(colours[shade(values[index] / limit)], 4 * index);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

const KEY_MOVES = {
  ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
  PageUp: [-1, 0, 0], PageDown: [1, 0, 0],
};

/**
 * Maps of numbers on one canvas, coloured around 0; a mouse, a finger and arrow keys choose a number.
 *
 * `values` has the numbers of `shape` [channels, height, width] or [height, width]. `selected`, and what `onPick` and
 * `onHover` receive, is [channel, row, column]; `describe` tells the number to a screen reader. `cell` is the size of a
 * number in pixels; without it, it is the largest up to `maxCell` with which the maps are at most `maxHeight` high.
 */
function NumberMap({values, shape, label, selected, limit, onPick, onHover, describe, ...sizes}) {
  useStore("dark");
  const canvas = useRef(), frame = useRef(), [room, setRoom] = useState(0);
  const [channels, height, width] = shape.length === 2 ? [1, ...shape] : shape;
  const grid = arrange(channels, height, width, room || 300, sizes);
  useEffect(() => {
    const observer = new ResizeObserver(() => frame.current && setRoom(frame.current.clientWidth));
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => paintMaps(canvas.current, values, [channels, height, width], grid, selected, limit));

  const valueAt = ([channel, row, column]) => values[(channel * height + row) * width + column];
  const placeAt = ({offsetX, offsetY}) => {
    const channel = Math.floor(offsetY / grid.stepY) * grid.columns + Math.floor(offsetX / grid.stepX);
    const row = Math.floor((offsetY % grid.stepY) / grid.cell), column = Math.floor((offsetX % grid.stepX) / grid.cell);
    const place = [channel, row, column], isInside = channel < channels && row < height && column < width;
    return isInside && valueAt(place) !== undefined ? place : null;
  };
  const pick = (place) => {
    if (!place || valueAt(place) === undefined) return;
    onPick(place);
    announce(describe?.(place, valueAt(place)) ?? `${channels > 1 ? `channel ${place[0]}, ` : ""}row ${place[1]}, ` +
      `column ${place[2]}: ${formatNumber(valueAt(place))}`);
  };
  const move = (event) => {
    const by = KEY_MOVES[event.key], sizes = [channels, height, width];
    if (!by) return;
    event.preventDefault();
    pick((selected ?? [0, 0, 0]).map((value, axis) => Math.max(0, Math.min(sizes[axis] - 1, value + by[axis]))));
  };
  const choice = onPick && {tabindex: 0, role: "application", class: "live", onKeyDown: move,
    onClick: (event) => pick(placeAt(event))};
  const hover = onHover && {onPointerMove: (event) => event.pointerType === "mouse" && onHover(placeAt(event)),
    onPointerLeave: () => onHover(null)};
  return html`<div class="map" ref=${frame}><canvas ref=${canvas} role="img" aria-label=${label} ...${choice}
    ...${hover}></canvas></div>`;
}

/** The colours of a map with the numbers at their ends. */
function Scale({limit}) {
  const [low, high] = [-limit, limit].map((value) => formatNumber(value, 3));
  return html`<span class="scale" role="img" aria-label="colours from ${low} to ${high}">${low}<i></i>${high}</span>`;
}

/** A number that the reader sets by a slider. `text` shows the value. */
function Slider({label, value, min, max, step = 1, text = formatNumber, onInput}) {
  return html`<label class="slider"><span>${label}</span>
    <input type="range" value=${value} min=${min} max=${max} step=${step} aria-valuetext=${text(value)}
      onInput=${(event) => onInput(Number(event.target.value))} /><output>${text(value)}</output></label>`;
}

/** A few options, of which one is chosen: [{value, title}]. */
function Choice({label, options, value, onChange, disabled = false}) {
  const name = useMemo(() => `choice-${Choice.count = (Choice.count ?? 0) + 1}`, []);
  return html`<fieldset class="choice" disabled=${disabled}><legend>${label}</legend>${options.map((option) => html`
    <label key=${option.value}><input type="radio" name=${name} checked=${option.value === value}
      onChange=${() => onChange(option.value)} /><span>${option.title}</span></label>`)}</fieldset>`;
}

/** Lines over a common axis as SVG: series [{title, colour (a variable, such as "accent"), points: [[x, y], ...]}]. */
function LineChart({title, series, xLabel, yLabel, log = false, width = 420, height = 220}) {
  const chart = useRef(), left = 66, bottom = 34, top = 12, right = 12;
  const drawn = (line) => line.points.filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
  const points = series.flatMap(drawn);
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const range = (values, zero) => values.length ? [zero ? Math.min(0, ...values) : Math.min(...values),
    Math.max(...values)] : [0, 1];
  const level = log ? Math.log10 : (value) => value;
  const [x0, x1] = range(xs), [y0, y1] = range(ys.map(level), !log);
  const x = (value) => left + (value - x0) / (x1 - x0 || 1) * (width - left - right);
  const y = (value) => height - bottom - (level(value) - y0) / (y1 - y0 || 1) * (height - bottom - top);
  const parts = y0 < y1 ? [0, 0.25, 0.5, 0.75, 1] : [0];
  const ticks = parts.map((part) => y0 + part * (y1 - y0)).map((value) => log ? 10 ** value : value);
  const zeros = ({points: all}) => { // a logarithm cannot show them
    const count = log ? all.filter(([, value]) => value === 0).length : 0;
    return count ? `: ${count} of ${all.length} are 0` : "";
  };
  return html`<figure class="chart"><figcaption>${title}</figcaption>
    <svg ref=${chart} viewBox="0 0 ${width} ${height}" role="img" aria-label=${`${title}. ${series.map((line) =>
      `${line.title}: ${formatNumber(line.points.at(-1)?.[1])}`).join("; ")}`}>
    ${ticks.map((value) => html`<line class="rule" x1=${left} x2=${width - right} y1=${y(value)} y2=${y(value)} />
      <text x=${left - 6} y=${y(value) + 4} text-anchor="end">${formatNumber(value, 2)}</text>`)}
    ${[...new Set([x0, x1])].map((value, end) => html`<text x=${x(value)} y=${height - bottom + 16}
      text-anchor=${end ? "end" : "start"}>${formatNumber(value)}</text>`)}
    <text x=${(left + width - right) / 2} y=${height - 4} text-anchor="middle">${xLabel}</text>
    <text x="12" y=${(height - bottom + top) / 2} text-anchor="middle"
      transform="rotate(-90 12 ${(height - bottom + top) / 2})">${yLabel}</text>
    ${series.map((line) => drawn(line).length === 1
      ? drawn(line).map(([a, b]) => html`<circle cx=${x(a)} cy=${y(b)} r="4" style="fill: var(--${line.colour})" />`)
      : html`<polyline key=${line.title} fill="none" style="stroke: var(--${line.colour})"
        points=${drawn(line).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ")} />`)}</svg>
    <p class="legend">${series.map((line) => html`<span key=${line.title}><i style="background: var(--${line.colour})">
      </i>${line.title}${zeros(line)}</span>`)}</p><${SaveButtons} name=${title} target=${chart} /></figure>`;
}

/** Save what is inside a frame, an SVG or a canvas, as a file in the colours that it has now. */
function SaveButtons({name, target}) {
  const words = `${store.state.config.run.name} ${name}`.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  const file = (format) => `${words.replace(/^-|-$/g, "")}.${format}`;
  return html`<p class="save">${["SVG", "PNG"].map((format) => html`<button key=${format} class="link"
    aria-label="Save ${name} as ${format}" onClick=${async () => download(file(format.toLowerCase()),
      format === "SVG" ? asSvg(target.current) : await asPng(target.current))}>Save as ${format}</button>`)}</p>`;
}

/** Hand the reader a file. */
function download(filename, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font", "text-anchor", "opacity"];

/** An SVG, a canvas, or all of them inside an element, as an SVG file that needs no style sheet. */
function asSvg(element) {
  const xmlns = "http://www.w3.org/2000/svg", {left, top, width, height} = element.getBoundingClientRect();
  const place = (part, attributes) => {
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    return part;
  };
  const make = (kind, attributes) => place(document.createElementNS(xmlns, kind), attributes);
  const file = make("svg", {width, height}), fill = getComputedStyle(document.body).backgroundColor;
  file.append(make("rect", {width, height, fill}));
  for (const part of element.matches("canvas, svg") ? [element] : element.querySelectorAll("canvas, svg")) {
    const box = part.getBoundingClientRect();
    file.append(place(part.matches("canvas") ? make("image", {href: part.toDataURL()}) : styledCopy(part),
      {x: box.left - left, y: box.top - top, width: box.width, height: box.height}));
  }
  return new Blob([new XMLSerializer().serializeToString(file)], {type: "image/svg+xml"});
}

/** A copy of an SVG element whose parts have their computed looks as attributes. */
function styledCopy(element) {
  const copy = element.cloneNode(true), copies = [copy, ...copy.querySelectorAll("*")];
  [element, ...element.querySelectorAll("*")].forEach((part, index) => {
    const style = getComputedStyle(part);
    copies[index].setAttribute("style", DRAWN.map((key) => `${key}: ${style.getPropertyValue(key)}`).join("; "));
  });
  return copy;
}

/** The same as pixels, twice as many as on screen. */
async function asPng(element) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await asSvg(element).text())}`;
  await image.decode();
  const canvas = new OffscreenCanvas(2 * image.width, 2 * image.height);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob();
}
