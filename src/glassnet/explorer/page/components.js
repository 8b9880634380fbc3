"use strict";
// Parts that several panels use: maps of numbers, sliders, choices, line charts, and buttons that save them.

const { html, render, useState, useEffect, useRef, useMemo } = htmPreact;
const PANELS = [];  // {key, title, component}; each panel's script adds its own

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
  if (size !== 0 && (size < 0.005 || size >= 1e4)) return value.toExponential(0).replaceAll("-", "−").replace("+", "");
  return Number.isFinite(value) ? value.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0).replace("-", "−") : formatNumber(value);
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

/** The colours that canvases use; read again when the scheme changes. */
function palette() {
  const { dark } = store.state;
  if (palette.dark !== dark) {
    const stops = [0, 1, 2, 3, 4].map((index) => colour(`diverging-${index}`));
    palette.diverging = Array.from({ length: 257 }, (_, index) => {  // number 128 stands for 0
      const low = Math.min(3, index >> 6), part = index / 64 - low;
      return stops[low].map((value, channel) => value + part * (stops[low + 1][channel] - value));
    });
    for (const name of ["text", "accent", "background", "line"]) palette[name] = css(colour(name));
    palette.dark = dark;
  }
  return palette;
}

/** The number of the colour of a value from -1 to 1. */
const shade = (value) => Math.round(128 + 128 * Math.max(-1, Math.min(1, value || 0)));

/** Places of `count` tiles of height x width numbers in a width of `room` pixels: the largest cells that fit. */
function arrange(count, [height, width], room, { maxCell = 40, minCell = 2, maxHeight = 300, gap = 6 }) {
  for (let cell = maxCell; ; cell--) {
    const columns = Math.max(1, Math.min(count, Math.floor((room + gap) / (width * cell + gap))));
    const rows = Math.ceil(count / columns), fits = columns * (width * cell + gap) - gap <= room;
    if (cell <= minCell || (fits && rows * (height * cell + gap) - gap <= maxHeight)) {
      return { cell, columns, rows, gap, stepX: width * cell + gap, stepY: height * cell + gap };
    }
  }
}

/** Draw maps on a canvas: a pixel a number, then each map enlarged into its tile, and numbers where they fit. */
function paintMaps(canvas, values, [channels, height, width], grid, { limit, selected, mark }) {
  const { cell, columns, rows, stepX, stepY, gap } = grid, colours = palette(), scale = devicePixelRatio || 1;
  canvas.width = (columns * stepX - gap) * scale;
  canvas.height = (rows * stepY - gap) * scale;
  canvas.style.width = `${columns * stepX - gap}px`;
  const context = canvas.getContext("2d"), pixels = new ImageData(width, height * channels);
  const least = limit ?? limitOf(values);
  for (let index = 0; index < pixels.data.length / 4; index++) {
    const value = values[index];
    if (value === undefined) continue;  // the last row of a vector may be shorter
    pixels.data.set([...colours.diverging[shade(value / least)], 255], 4 * index);
  }
  const small = new OffscreenCanvas(width, height * channels);
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.scale(scale, scale);
  context.imageSmoothingEnabled = false;
  const corner = (channel) => [(channel % columns) * stepX, Math.floor(channel / columns) * stepY];
  for (let channel = 0; channel < channels; channel++) {
    context.drawImage(small, 0, channel * height, width, height, ...corner(channel), width * cell, height * cell);
  }
  const frame = ([channel, row, column], tall, wide, style, line) => {
    const [left, top] = corner(channel);
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(left + column * cell + line / 2, top + row * cell + line / 2, wide * cell - line, tall * cell - line);
  };
  if (cell >= 30) {
    context.fillStyle = colours.text;
    context.font = `${Math.min(13, cell / 2.9)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    values.forEach((value, index) => {
      const [left, top] = corner(Math.floor(index / (height * width)));
      const row = Math.floor(index / width) % height, column = index % width;
      context.fillText(shortNumber(value), left + (column + 0.5) * cell, top + (row + 0.5) * cell);
    });
  }
  if (mark) frame(mark.from, mark.size[0], mark.size[1], colours.accent, 2);
  if (selected && channels > 1) frame([selected[0], 0, 0], height, width, colours.text, 1);
  if (selected) frame(selected, 1, 1, colours.text, Math.max(1, Math.min(3, cell / 5)));
}

/**
 * Maps of numbers on one canvas, coloured around 0; a mouse, a finger and arrow keys choose a number.
 *
 * `values` has the numbers of `shape` [channels, height, width] or [height, width]. `selected` and what `onPick` and
 * `onHover` receive is [channel, row, column]; `describe` tells the number to a screen reader.
 */
function NumberMap({ values, shape, label, selected, onPick, onHover, describe, ...options }) {
  useStore("dark");
  const canvas = useRef(), frame = useRef(), [room, setRoom] = useState(0);
  const [channels, height, width] = shape.length === 2 ? [1, ...shape] : shape;
  const grid = arrange(channels, [height, width], room || 300, options);
  useEffect(() => {
    const observer = new ResizeObserver(() => frame.current && setRoom(frame.current.clientWidth));
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (room) paintMaps(canvas.current, values, [channels, height, width], grid, { selected, ...options });
  });

  const at = ({ offsetX, offsetY }) => {
    const channel = Math.floor(offsetY / grid.stepY) * grid.columns + Math.floor(offsetX / grid.stepX);
    const row = Math.floor((offsetY % grid.stepY) / grid.cell), column = Math.floor((offsetX % grid.stepX) / grid.cell);
    const inside = channel < channels && row < height && column < width;
    return inside && values[(channel * height + row) * width + column] !== undefined ? [channel, row, column] : null;
  };
  const pick = (place) => {
    if (!place || !onPick) return;
    onPick(place);
    const value = values[(place[0] * height + place[1]) * width + place[2]];
    announce(describe ? describe(place, value) :
      `${channels > 1 ? `channel ${place[0]}, ` : ""}row ${place[1]}, column ${place[2]}: ${formatNumber(value)}`);
  };
  const MOVES = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0],
    PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };
  const move = (event) => {
    const by = MOVES[event.key];
    if (!by || !onPick) return;
    event.preventDefault();
    const sizes = [channels, height, width];
    pick((selected ?? [0, 0, 0]).map((value, axis) => Math.max(0, Math.min(sizes[axis] - 1, value + by[axis]))));
  };
  return html`<div class="map" ref=${frame}><canvas ref=${canvas} tabindex=${onPick ? 0 : -1}
    role=${onPick ? "application" : "img"} aria-label=${label} class=${onPick ? "live" : ""} onKeyDown=${move}
    onClick=${(event) => pick(at(event))}
    onPointerMove=${onHover && ((event) => event.pointerType === "mouse" && onHover(at(event)))}
    onPointerLeave=${onHover && (() => onHover(null))}></canvas></div>`;
}

/** The colours of a map with the numbers at their ends. */
function Scale({ limit }) {
  return html`<div class="scale" role="img" aria-label="colours from ${formatNumber(-limit, 3)} to ${formatNumber(limit, 3)}">
    <span>${formatNumber(-limit, 3)}</span><i></i><span>${formatNumber(limit, 3)}</span></div>`;
}

/** A number that the reader sets by a slider. `text` shows the value. */
function Slider({ label, value, min, max, step = 1, text = formatNumber, onInput }) {
  return html`<label class="slider"><span>${label}</span>
    <input type="range" value=${value} min=${min} max=${max} step=${step} aria-valuetext=${text(value)}
      onInput=${(event) => onInput(Number(event.target.value))} /><output>${text(value)}</output></label>`;
}

/** A few options, of which one is chosen: [{value, title}]. */
function Choice({ label, options, value, onChange }) {
  const name = useMemo(() => `choice-${Choice.count = (Choice.count ?? 0) + 1}`, []);
  return html`<fieldset class="choice"><legend>${label}</legend>${options.map((option) => html`
    <label key=${option.value}><input type="radio" name=${name} checked=${option.value === value}
      onChange=${() => onChange(option.value)} /><span>${option.title}</span></label>`)}</fieldset>`;
}

/** Lines over a common axis as SVG: series [{title, colour (a variable, such as "accent"), points: [[x, y], ...]}]. */
function LineChart({ title, series, xLabel, yLabel, log = false, width = 420, height = 220 }) {
  const chart = useRef(), left = 52, bottom = 34, top = 12, right = 12;
  const points = series.flatMap((line) => line.points).filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const range = (values, zero) => values.length ? [zero ? Math.min(0, ...values) : Math.min(...values),
    Math.max(...values)] : [0, 1];
  const height_ = log ? Math.log10 : (value) => value;
  const [x0, x1] = range(xs), [y0, y1] = range(ys.map(height_), !log);
  const x = (value) => left + (value - x0) / (x1 - x0 || 1) * (width - left - right);
  const y = (value) => height - bottom - (height_(value) - y0) / (y1 - y0 || 1) * (height - bottom - top);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => y0 + part * (y1 - y0)).map((value) => log ? 10 ** value : value);
  return html`<figure class="chart"><figcaption>${title}</figcaption>
    <svg ref=${chart} viewBox="0 0 ${width} ${height}" role="img" aria-label=${`${title}. ${series.map((line) =>
      `${line.title}: ${formatNumber(line.points.at(-1)?.[1])}`).join("; ")}`}>
    ${ticks.map((value) => html`<line class="rule" x1=${left} x2=${width - right} y1=${y(value)} y2=${y(value)} />
      <text x=${left - 6} y=${y(value) + 4} text-anchor="end">${formatNumber(value, 2)}</text>`)}
    ${[x0, x1].map((value, end) => html`<text x=${x(value)} y=${height - bottom + 16}
      text-anchor=${end ? "end" : "start"}>${formatNumber(value)}</text>`)}
    <text x=${(left + width - right) / 2} y=${height - 4} text-anchor="middle">${xLabel}</text>
    <text x="12" y=${(height - bottom + top) / 2} text-anchor="middle"
      transform="rotate(-90 12 ${(height - bottom + top) / 2})">${yLabel}</text>
    ${series.map((line) => html`<polyline key=${line.title} fill="none" style="stroke: var(--${line.colour})"
      points=${line.points.filter(([, value]) => Number.isFinite(value) && (!log || value > 0))
        .map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ")} />`)}</svg>
    <p class="legend">${series.map((line) => html`<span key=${line.title}><i style="background: var(--${line.colour})">
      </i>${line.title}</span>`)}</p><${SaveButtons} name=${title} target=${chart} /></figure>`;
}

/** Save what is inside a frame, an SVG or a canvas, as a file in the colours that it has now. */
function SaveButtons({ name, target }) {
  const file = (format) => `${name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.${format}`;
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

/** An SVG element, or a canvas inside one, as a file that needs no style sheet. */
function asSvg(element) {
  const { width, height } = element.getBoundingClientRect();
  let copy;
  if (element instanceof HTMLCanvasElement) {
    copy = new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg"><image width="${width}" ` +
      `height="${height}" href="${element.toDataURL()}"/></svg>`, "image/svg+xml").documentElement;
  } else {
    copy = element.cloneNode(true);
    const parts = [element, ...element.querySelectorAll("*")], copies = [copy, ...copy.querySelectorAll("*")];
    parts.forEach((part, index) => {
      const style = getComputedStyle(part);
      copies[index].setAttribute("style", DRAWN.map((key) => `${key}: ${style.getPropertyValue(key)}`).join("; "));
    });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  }
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const background = getComputedStyle(document.body).backgroundColor;
  copy.setAttribute("style", `${copy.getAttribute("style") ?? ""}; background: ${background}`);
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
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
