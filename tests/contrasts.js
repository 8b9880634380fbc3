// Returns [text, contrast] of every visible text, also in figures, but not of numbers on heatmaps (their colours are
// tested in tests/pages/test_colours.py). WCAG 2.2: (L1 + .05) / (L2 + .05).
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((value, i) => a * value + (1 - a) * ground[i]);
  const luminance = (colour) =>
    colour.map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const ancestors = (element) => (element ? [element, ...ancestors(element.parentElement)] : []);
  // A canvas knows what the reader's scheme puts behind a page without a background.
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  const groundOf = (element) =>
    ancestors(element).map((one) => parse(getComputedStyle(one).backgroundColor))
      .reduceRight((ground, colour) => over(colour, ground), canvas);
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element), text = node.textContent.trim();
    if (!text || element.closest("script, style, noscript, .heatmap-label, .hidden, .skip")) continue;
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || !box.width) continue;
    const bar = element.matches(".bartext-inside") && element.closest(".point").querySelector("path");
    const ground = bar ? parse(getComputedStyle(bar).fill).slice(0, 3) : groundOf(element);
    const [r, g, b, a] = parse(element instanceof SVGElement ? style.fill : style.color);
    const opacity = ancestors(element).reduce((product, one) => product * Number(getComputedStyle(one).opacity), a);
    const [bright, dark] = [over([r, g, b, opacity], ground), ground].map(luminance).sort((x, y) => y - x);
    texts.push([text, (bright + 0.05) / (dark + 0.05)]);
  }
  return texts;
}
