// The picker of a model: which layer, and which head or channel of it. It sets the triangle of every view.

import { palette, recolour } from "./colour.js";
import { make } from "./dom.js";
import { thumbnail } from "./matrix.js";

const LAYER = 52; // pixels of a small multiple of a layer
const HEAD = 88; // pixels of one of a head

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./state.js").State} State */
/** @typedef {{label: string, unit: string, of: number, members: number[]}} Part */

/** The parts of the model in order, each with the places of its triangles. @param {Data} data */
function parts(data) {
  /** @type {Map<string, Part>} */
  const found = new Map();
  data.triangles.forEach(({ said: { head } }, k) => {
    if (!head) return;
    const label = `${head.layer} ${head.kind}`;
    const part = found.get(label) ?? { label, unit: head.unit, of: head.of, members: [] };
    part.members.push(k);
    found.set(label, part);
  });
  return [...found.values()];
}

/** @param {Data} data @param {State} state */
export function picker(data, state) {
  const all = parts(data);
  const number = (/** @type {number} */ k) => data.triangles[k].said.head?.number ?? 0;
  const partOf = (/** @type {number} */ k) => all.findIndex((part) => part.members.includes(k));
  /** The triangle of a part with the head that is chosen now, or with its first one. @param {Part} part */
  const place = (part) => part.members.find((k) => number(k) === number(state.now.k)) ?? part.members[0];
  const layer = make("select", {
    id: "pick-layer", onchange: () => state.set({ k: place(all[Number(layer.value)]) }),
  }, ...all.map((part, i) => make("option", { value: `${i}` }, part.label)));
  const head = make("select", { id: "pick-head", onchange: () => state.set({ k: Number(head.value) }) });
  const unit = make("label", { for: "pick-head" });
  const said = make("p", { role: "status", class: "quiet" });
  const strip = (/** @type {string} */ label) => make("div", { class: "multiples", role: "group", "aria-label": label });
  const layers = strip("layers");
  const heads = strip("heads of the layer");
  let shown = -1; // the part whose heads are drawn

  /** @param {HTMLElement} list @param {number} side @param {{k: number, text: string, act: () => void}[]} entries */
  function draw(list, side, entries) {
    const colours = palette();
    list.hidden = entries.length < 2;
    list.replaceChildren(...entries.map(({ k, text, act }) => {
      const canvas = make("canvas", { width: `${side}`, height: `${side}`, "aria-hidden": "true" });
      thumbnail(canvas, data, k, state, colours);
      return make("button", { type: "button", onclick: act }, canvas, make("span", {}, text));
    }));
  }
  function drawLayers() {
    draw(layers, LAYER, all.map((part) => ({
      k: part.members[0], text: part.label, act: () => state.set({ k: place(part) }),
    })));
  }
  function drawHeads() {
    const part = all[shown];
    draw(heads, HEAD, part.members.map((k) => ({ k, text: `${part.unit} ${number(k)}`, act: () => state.set({ k }) })));
    heads.setAttribute("aria-label", `${part.unit}s of layer ${part.label}`);
    unit.textContent = part.unit;
    head.replaceChildren(...part.members.map((k) => make("option", { value: `${k}` }, `${number(k)}`)));
  }
  /** @param {boolean} anew whether the pictures of the heads are drawn anew */
  function choose(anew) {
    const now = partOf(state.now.k);
    const part = all[now];
    if (now !== shown || anew) {
      shown = now;
      drawHeads();
    }
    layer.value = `${now}`;
    head.value = `${state.now.k}`;
    said.textContent = `${data.triangles[state.now.k].said.name}. This page holds ${part.members.length} of `
      + `the ${part.of} ${part.unit}s of this layer.`;
    [...layers.children].forEach((one, i) => one.setAttribute("aria-pressed", `${i === now}`));
    [...heads.children].forEach((one, i) => one.setAttribute("aria-pressed", `${part.members[i] === state.now.k}`));
  }
  const again = () => { drawLayers(); choose(true); };
  recolour(again);
  state.watch((now, before) => {
    if (now.scale !== before.scale || now.own !== before.own) again();
    else if (now.k !== before.k) choose(false);
  });
  again();
  return make("section", { class: "picker", "aria-label": "which layer and head" },
    make("div", { class: "picks" }, make("label", { for: "pick-layer" }, "layer"), layer, unit, head, said),
    layers, heads);
}
