"use strict";

const root = document.documentElement;
const readerPrefersDark = matchMedia("screen and (prefers-color-scheme: dark)");
// A page without a theme of its own follows the reader.
const isDark = () => root.dataset.theme === "dark" || (root.dataset.theme !== "light" && readerPrefersDark.matches);
const darken = (key, value) => DARK.get(value) ?? value;

// A figure with a width of its own shrinks in both directions alike; one without fills the page.
function sizeFor({ layout }, room, headroom = Infinity) {
  if (!layout.width) return { width: Math.max(room, layout.meta.min_width), height: layout.height };
  const { l, r, t, b } = layout.margin;
  const wide = layout.width - l - r, high = layout.height - t - b;
  const scale = Math.max(Math.min((room - l - r) / wide, (headroom - t - b) / high, 1), (layout.meta.min_width - l - r) / wide);
  return { width: Math.round(l + r + wide * scale), height: Math.round(t + b + high * scale) };
}

async function draw(plot, { data, layout, config }, looks, choice) {
  await Plotly.react(plot, data, { ...layout, ...looks }, { ...config, modeBarButtonsToRemove: ["toImage"] });
  if (choice) await Plotly[choice.dataset.method](plot, ...JSON.parse(choice.dataset.arguments));
}

// A saved figure is light, and as large as on a narrow page, but magnified: text of 10 pixels, the smallest, has 18 on a
// slide of 1280×720 pixels.
const MAGNIFIED = 1.8;

async function save(drawn, format, choice) {
  const copy = document.createElement("div"), { width, height } = sizeFor(drawn, 1280 / MAGNIFIED, 720 / MAGNIFIED);
  await draw(copy, drawn, { width, height }, choice);
  const filename = drawn.layout.title.text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  await Plotly.downloadImage(copy, { format, width, height, filename, scale: MAGNIFIED * (format === "png" ? 2 : 1) });
  Plotly.purge(copy);
}

for (const plot of document.querySelectorAll(".plot")) {
  const frame = plot.parentElement, figure = frame.parentElement;
  const json = plot.nextElementSibling.textContent, drawn = JSON.parse(json);
  const choices = [...figure.querySelectorAll(".buttons button")];
  const chosen = () => choices.find((button) => button.getAttribute("aria-pressed") === "true");
  const redraw = () => {
    const looks = { ...sizeFor(drawn, frame.clientWidth), paper_bgcolor: "transparent", plot_bgcolor: "transparent" };
    return draw(plot, JSON.parse(json, isDark() ? darken : undefined), looks, chosen());
  };
  const fit = () => {
    const { width, height } = sizeFor(drawn, frame.clientWidth);
    if (width !== plot.layout.width) Plotly.relayout(plot, { width, height });
    if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
  };
  redraw().then(() => {
    new ResizeObserver(fit).observe(frame);
    readerPrefersDark.addEventListener("change", redraw);
    new MutationObserver(redraw).observe(root, { attributeFilter: ["data-theme"] });
  });

  for (const button of choices) {
    button.addEventListener("click", () => {
      for (const other of choices) other.setAttribute("aria-pressed", String(other === button));
      Plotly[button.dataset.method](plot, ...JSON.parse(button.dataset.arguments));
    });
  }
  for (const button of figure.querySelectorAll(".save button")) {
    button.addEventListener("click", () => save(JSON.parse(json), button.dataset.format, chosen()));
  }
}
