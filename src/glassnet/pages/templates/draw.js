"use strict";

// A figure with a width of its own shrinks in both directions alike; one without fills the page.
function sizeFor({ layout }, room) {
  if (!layout.width) return { width: Math.max(room, layout.meta.min_width), height: layout.height };
  const { l, r, t, b } = layout.margin;
  const width = Math.max(Math.min(room, layout.width), layout.meta.min_width);
  const scale = (width - l - r) / (layout.width - l - r);
  return { width, height: Math.round(t + b + (layout.height - t - b) * scale) };
}

for (const plot of document.querySelectorAll(".plot")) {
  const frame = plot.parentElement;
  const drawn = JSON.parse(plot.nextElementSibling.textContent);
  const fit = () => {
    const { width, height } = sizeFor(drawn, frame.clientWidth);
    if (width !== plot.layout.width) Plotly.relayout(plot, { width, height });
    if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
  };
  // Plotly writes into the layout that it is given; ours stays as it came.
  const layout = { ...structuredClone(drawn.layout), ...sizeFor(drawn, frame.clientWidth) };
  Plotly.newPlot(plot, drawn.data, layout, drawn.config).then(() => new ResizeObserver(fit).observe(frame));

  const buttons = [...frame.parentElement.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      Plotly[button.dataset.method](plot, ...JSON.parse(button.dataset.arguments));
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
  }
}
