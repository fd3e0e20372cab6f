// The view "Matrix": the zoomed triangle and the chosen row; and the small multiples above it.

import { css, palette, recolour, share } from "./colour.js";
import { copier, download, make, save } from "./dom.js";
import { Row } from "./row.js";
import { Square } from "./square.js";

const SMALL = 88; // pixels of a small multiple

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function matrix(data, state) {
  const square = new Square(data, state, { leaks: false, label: "triangle: row reads column" });
  const row = new Row(data, state);
  const fact = make("p", { class: "fact" });
  const pooled = data.about.ratio > 1
    ? `One cell stands for ${data.about.ratio} × ${data.about.ratio} weights and has the largest of them.` : "";
  const side = make("div", { class: "left" }, tools(data, state, square), square.element, fact);
  const element = make("div", { class: "view matrix" },
    make("div", { class: "columns" }, side, row.element));
  const saying = () => {
    fact.textContent = [data.triangles[state.now.k].said.fact, pooled].filter(Boolean).join(" ");
  };
  state.watch((now, before) => {
    const same = now.k === before.k && now.scale === before.scale && now.own === before.own
      && now.zoom.join() === before.zoom.join();
    if (same) square.mark();
    else square.draw();
    if (now.k !== before.k) saying();
  });
  saying();
  return { element, draw: () => { square.fit(); square.draw(); row.all(); }, square };
}

/** Small multiples, which choose the triangle of every view.
 * @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function multiples(data, state) {
  const list = make("div", { class: "multiples", role: "group", "aria-label": "which triangle" });
  if (data.triangles.length < 2) return list;
  const draw = () => {
    const colours = palette();
    list.replaceChildren(...data.triangles.map((one, k) => {
      const canvas = make("canvas", { width: `${SMALL}`, height: `${SMALL}`, "aria-hidden": "true" });
      thumbnail(canvas, data, k, state, colours);
      return make("button", {
        type: "button", "aria-pressed": `${k === state.now.k}`, onclick: () => state.set({ k }),
      }, canvas, make("span", {}, one.said.name));
    }));
  };
  draw();
  recolour(draw);
  state.watch((now, before) => {
    if (now.scale !== before.scale || now.own !== before.own) draw();
    else if (now.k !== before.k) {
      [...list.children].forEach((one, k) => one.setAttribute("aria-pressed", `${k === now.k}`));
    }
  });
  return list;
}

/** A triangle as a small picture. @param {HTMLCanvasElement} canvas @param {import("./data.js").Data} data
 * @param {number} k @param {import("./state.js").State} state @param {import("./colour.js").Palette} colours */
export function thumbnail(canvas, data, k, state, colours) {
  const one = data.triangles[k];
  const side = canvas.width;
  let coarse = 0;
  while (one.said.size / 2 ** coarse > side) coarse++;
  const level = one.level(coarse);
  const top = state.now.own ? one.top : data.top;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const each = side / (one.said.size / 2 ** coarse);
  /** @type {(() => void)[]} */
  const later = [];
  for (let i = 0; i < level.n; i++) {
    for (let j = 0; j < level.n; j++) {
      const weight = level.get(i, j);
      const leak = weight !== 0 && (j > i || (i === j && level.leaks[i] === 1));
      const hue = leak ? colours.leak : weight < 0 ? colours.negative : colours.weight;
      const strength = leak ? 1 : share(weight, top, state.now.scale);
      const mixed = /** @type {import("./colour.js").Rgb} */ (
        colours.paper.map((paper, c) => Math.round(paper + (hue[c] - paper) * strength)));
      context.fillStyle = css(weight === 0 && j > i ? colours.future : mixed);
      const wide = leak ? Math.max(3, each) : Math.ceil(each); // a single leak is seen
      if (!leak) context.fillRect(j * each, i * each, wide, wide);
      else later.push(() => {
        context.fillStyle = css(colours.leak);
        context.fillRect(j * each - 1, i * each - 1, wide, wide);
      });
    }
  }
  for (const draw of later) draw();
}

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state
 * @param {Square} square */
function tools(data, state, square) {
  /** @param {string} label @param {() => boolean} pressed @param {() => void} act */
  const toggle = (label, pressed, act) => {
    const button = make("button", { type: "button", onclick: act, "aria-pressed": `${pressed()}` }, label);
    state.watch(() => button.setAttribute("aria-pressed", `${pressed()}`));
    return button;
  };
  /** @param {string} label @param {string} name @param {() => void} act */
  const button = (label, name, act) => make("button", {
    type: "button", title: name, onclick: act, ...(label.length === 1 ? { "aria-label": name } : {}),
  }, label);
  const line = () => `${data.about.python}.at(${state.now.t * data.about.ratio})`;
  return make("div", { class: "tools", role: "group", "aria-label": "scale, zoom and export" },
    toggle("log scale", () => state.now.scale === "log", () =>
      state.set({ scale: state.now.scale === "log" ? "linear" : "log" })),
    toggle("own scale", () => state.now.own, () => state.set({ own: !state.now.own })),
    button("+", "zoom in", () => square.zoom(0.5)),
    button("−", "zoom out", () => square.zoom(2)),
    button("all", "show the whole triangle", () => state.set({ zoom: [0, 0, state.size] })),
    button("PNG", "save this picture", () => save(square.cells, "triangle.png")),
    button("CSV", "save this row", () => download("row.csv", new Blob([csv(data, state)], { type: "text/csv" }))),
    copier("copy as Python", line));
}

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
function csv(data, state) {
  const one = data.triangles[state.now.k];
  const quoted = (/** @type {string} */ text) => `"${text.replaceAll('"', '""')}"`;
  const lines = Array.from({ length: state.size }, (_, s) =>
    [data.positions(s), quoted(data.about.ratio === 1 ? data.here.tokens[s] : ""), one.get(state.now.t, s)].join(","));
  return ["position read,token,weight", ...lines, ""].join("\n");
}
