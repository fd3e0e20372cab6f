// Where two forms differ: every number of both in float32, position by channel.

import { css, palette } from "./colour.js";
import { digits } from "./data.js";
import { download, make, save } from "./dom.js";

const [WIDE, LOW, MOST] = [640, 2 ** -25, 2 ** -18]; // pixels; half a rounding, more than rounding

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./data.js").FormSaid} FormSaid */

/** @param {Data} data @param {import("./state.js").State} state
 * @param {() => import("./data.js").SubjectSaid} subject */
export function apart(data, state, subject) {
  const canvas = make("canvas", { role: "img", onclick: (event) => {
    const x = /** @type {MouseEvent} */ (event).offsetX / canvas.clientWidth;
    state.set({ t: data.cell(Math.floor(x * length(pair()[0]))), locked: true });
  } });
  const said = make("p", { class: "fact", "aria-live": "polite" });
  const [one, other] = ["one form", "another form"].map((name, i) => make("select", { "aria-label": name,
    onchange: () => state.set({ pair: [one.value, other.value].join() }) }));
  const able = () => subject().forms.filter((form) => form.narrow);
  const pair = () => {
    const forms = able();
    const [a, b] = state.now.pair.split(",").map((name) => forms.find((form) => form.name === name));
    return [a ?? forms[0], b ?? forms[forms.length - 1]];
  };
  const csv = () => {
    const [a, b] = pair();
    const lines = errors(data, a, b).map((_, i) => [Math.floor(i / a.channels), i % a.channels,
      data.number(a.narrow, i), data.number(b.narrow, i)].join(","));
    return [`position,channel,${a.name},${b.name}`, ...lines, ""].join("\n");
  };
  const element = make("section", { class: "apart", "aria-label": "where two forms differ" },
    make("h3", {}, "where two forms differ, in float32"),
    make("div", { class: "tools" }, one, other,
      make("button", { type: "button", title: "save this picture", onclick: () => save(canvas, "apart.png") }, "PNG"),
      make("button", { type: "button", title: "save the numbers of both", onclick: () =>
        download("apart.csv", new Blob([csv()], { type: "text/csv" })) }, "CSV")), canvas, said);
  const draw = () => {
    const [a, b] = pair();
    for (const [select, chosen] of /** @type {[HTMLSelectElement, FormSaid][]} */ ([[one, a], [other, b]])) {
      select.replaceChildren(...able().map((form) => make("option", { value: form.name }, form.name)));
      select.value = chosen.name;
    }
    const text = paint(canvas, data, state, a, b);
    canvas.setAttribute("aria-label", `${a.name} beside ${b.name}: ${text}`);
    said.textContent = `${text} Position to the right${a.channels > 1 ? ", channel down" : ""}; grey: equal.`;
  };
  state.watch((now, before) => {
    if (now.view === "forms" && (now.pair !== before.pair || now.t !== before.t)) draw();
  });
  return { element, draw };
}

/** @param {FormSaid} form */
function length(form) {
  return (form.narrow?.[1] ?? 0) / form.channels;
}

/** As a part of the largest output of the first. @param {Data} data @param {FormSaid} a @param {FormSaid} b */
function errors(data, a, b) {
  const count = a.narrow?.[1] ?? 0;
  const value = (/** @type {FormSaid} */ form, /** @type {number} */ i) => data.number(form.narrow, i) ?? 0;
  let top = 0;
  for (let i = 0; i < count; i++) top = Math.max(top, Math.abs(value(a, i)));
  return Array.from({ length: count }, (_, i) => Math.abs(value(a, i) - value(b, i)) / (top || 1));
}

/** @param {HTMLCanvasElement} canvas @param {Data} data @param {import("./state.js").State} state
 * @param {FormSaid} a @param {FormSaid} b */
function paint(canvas, data, state, a, b) {
  const found = errors(data, a, b);
  const { channels } = a;
  const n = length(a);
  const high = channels > 1 ? Math.min(14, 224 / channels) : 28;
  canvas.width = WIDE;
  canvas.height = high * channels;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const colours = palette();
  const each = WIDE / n;
  found.forEach((error, i) => {
    const bad = error > MOST;
    const hue = bad ? colours.leak : colours.weight;
    // From half a rounding, the weakest, to what is no rounding any more: 2^7 times as much.
    const strength = bad ? 1 : 0.3 + 0.7 * Math.max(0, Math.log2(error / LOW)) / 7;
    const mixed = /** @type {import("./colour.js").Rgb} */ (
      colours.paper.map((paper, c) => Math.round(paper + (hue[c] - paper) * strength)));
    context.fillStyle = css(error ? mixed : colours.hatch);
    context.fillRect(Math.floor(i / channels) * each, (i % channels) * high, Math.ceil(each), Math.ceil(high));
  });
  context.fillStyle = css(colours.accent);
  context.fillRect((Math.min(n - 1, state.now.t * data.about.ratio) + 0.5) * each - 1, 0, 2, canvas.height);
  const equal = found.filter((error) => !error).length;
  const most = found.indexOf(Math.max(...found));
  if (equal === found.length) return `All ${found.length} numbers are equal, bit for bit.`;
  return `${equal} of ${found.length} numbers are equal, bit for bit. They differ most at ${data.place(Math.floor(most / channels))}`
    + `${channels > 1 ? `, channel ${most % channels}` : ""}, by ${digits(found[most], 3)} of the largest output.`;
}
