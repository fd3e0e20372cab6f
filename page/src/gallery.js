// The verifier's gallery: how each fault looks, and what it does where it happens.

import { css, palette, share } from "./colour.js";
import { digits } from "./data.js";
import { copier, make } from "./dom.js";

const [SMALL, LARGE, N] = [64, 240, 16]; // pixels, pixels, positions

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./data.js").Exhibit} Exhibit */

/** @param {Data} data @param {import("./state.js").State} state */
export function gallery(data, state) {
  const { gallery: all, groups, subjects } = data.about;
  const found = subjects.flatMap((subject) => subject.leaks.map((leak) => leak.group));
  const first = all.find((one) => found.includes(one.group)) ?? all[0];
  const card = make("article", { class: "bad exhibit", "aria-live": "polite" });
  const buttons = all.map((one) => make("button", { type: "button",
    onclick: () => state.set({ exhibit: one.name }) }, make("canvas", { "aria-hidden": "true" }),
  make("span", {}, one.name.replaceAll("_", " "))));
  const element = make("section", { class: "gallery", "aria-label": "gallery" },
    make("h2", {}, "The gallery: how such faults look"),
    make("p", { class: "quiet" }, "Small modules, each with one fault from a public report, measured over 16 positions. Row reads column."),
    card, ...Object.keys(Object.fromEntries(all.map((one) => [one.group, 1]))).map((name) => make("div", {},
      make("h3", {}, found.includes(name) ? `${name}: as found above` : name),
      make("div", { class: "multiples", role: "group", "aria-label": name },
        ...buttons.filter((_, i) => all[i].group === name)))));
  const draw = () => {
    const colours = palette();
    all.forEach((one, i) => paint(/** @type {HTMLCanvasElement} */ (buttons[i].firstChild), data, one, SMALL, colours));
    say();
  };
  const say = () => {
    const chosen = all.find((one) => one.name === state.now.exhibit) ?? first;
    buttons.forEach((one, i) => one.setAttribute("aria-pressed", `${all[i] === chosen}`));
    const canvas = make("canvas", { role: "img", "aria-label": `what ${chosen.name} reads` });
    paint(canvas, data, chosen, LARGE, palette());
    card.replaceChildren(canvas, make("div", {}, make("h3", {}, chosen.name.replaceAll("_", " ")),
      make("p", {}, chosen.story), make("p", {}, what(data, chosen, groups)),
      make("p", { class: "quiet" }, `Reported in: ${chosen.source.join(" , ")}`),
      copier("copy the command that shows its code", () => `trilby gallery ${chosen.name}`)));
  };
  state.watch((now, before) => {
    if (now.exhibit !== before.exhibit) say();
  });
  return { element, draw };
}

/** @param {Data} data @param {Exhibit} one @param {Record<string, string>} groups */
function what(data, one, groups) {
  const cells = ahead(data, one).length;
  if (!cells) return `This square shows nothing: the fault needs another argument, length or mode. The verifier calls it ${one.cause}.`;
  const [t, s] = ahead(data, one)[0];
  return `${cells} cells above the diagonal are not zero${one.gradient ? ", in the gradient only" : ""}; `
    + `the first: ${t} reads ${s}, ${digits(at(data, one, t, s), 3)}. ${groups[one.group]}`;
}

/** @param {Data} data @param {Exhibit} one @param {number} t @param {number} s */
function at(data, one, t, s) {
  return data.number(one.square, t * N + s) ?? 0;
}

/** @param {Data} data @param {Exhibit} one @returns {[number, number][]} */
function ahead(data, one) {
  /** @type {[number, number][]} */
  const found = [];
  for (let t = 0; t < N; t++) for (let s = t + 1; s < N; s++) if (at(data, one, t, s)) found.push([t, s]);
  return found;
}

/** @param {HTMLCanvasElement} canvas @param {Data} data @param {Exhibit} one @param {number} side
 * @param {import("./colour.js").Palette} colours */
function paint(canvas, data, one, side, colours) {
  canvas.width = canvas.height = side;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const each = side / N;
  let top = 0;
  for (let i = 0; i < N * N; i++) top = Math.max(top, at(data, one, 0, i));
  for (let t = 0; t < N; t++) {
    for (let s = 0; s < N; s++) {
      const size = at(data, one, t, s);
      const strength = s > t ? 1 : 0.35 * share(size, top, "log");
      const hue = s > t ? colours.leak : colours.weight;
      const mixed = /** @type {import("./colour.js").Rgb} */ (
        colours.paper.map((paper, c) => Math.round(paper + (hue[c] - paper) * strength)));
      context.fillStyle = css(size ? mixed : s > t ? colours.future : colours.paper);
      context.fillRect(s * each, t * each, each, each);
      if (size && s > t && each >= 12) {
        context.fillStyle = css(colours.paper);
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillText("!", (s + 0.5) * each, (t + 0.5) * each);
      }
    }
  }
  context.strokeStyle = css(colours.ink);
  context.strokeRect(0.5, 0.5, side - 1, side - 1);
}
