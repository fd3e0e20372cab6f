// How strong a weight is drawn, and in which colour. The same rule as trilby/shown/shading.py.

export const DECADES = 4;
export const WEAKEST = 0.12;

/** @typedef {[number, number, number]} Rgb */
/** @typedef {Record<"paper" | "future" | "weight" | "negative" | "leak" | "ink" | "hatch" | "accent", Rgb>} Palette */

const NAMES = /** @type {(keyof Palette)[]} */ ([
  "paper", "future", "weight", "negative", "leak", "ink", "hatch", "accent",
]);

/** The colours of the style, which differ in light, dark, forced colours and print.
 * @returns {Palette} */
export function palette() {
  return /** @type {Palette} */ (colours(NAMES));
}

/** Draw again where the colours change. @param {() => void} draw */
export function recolour(draw) {
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"]) {
    matchMedia(query).addEventListener("change", draw);
  }
}

/** @param {string[]} names of the style @returns {Record<string, Rgb>} */
export function colours(names) {
  const probe = document.createElement("i");
  document.body.append(probe);
  const found = /** @type {Record<string, Rgb>} */ ({});
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    const parts = getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["0", "0", "0"];
    found[name] = [Number(parts[0]), Number(parts[1]), Number(parts[2])];
  }
  probe.remove();
  return found;
}

/** From 0 for no weight to 1 for the largest.
 * @param {number} weight @param {number} top @param {string} scale */
export function share(weight, top, scale) {
  if (weight === 0 || top === 0) return 0;
  const size = Math.abs(weight) / top;
  if (!(size < 1)) return 1;
  const strength = scale === "log" ? Math.max(0, 1 + Math.log10(size) / DECADES) : size;
  return WEAKEST + (1 - WEAKEST) * strength;
}

/** @param {Rgb} rgb */
export function css(rgb) {
  return `rgb(${rgb.join(" ")})`;
}
