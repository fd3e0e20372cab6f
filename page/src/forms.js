// The view "Forms": every form of a mixer beside its loop, and what the state holds at each step.

import { apart } from "./apart.js";
import { css, palette } from "./colour.js";
import { digits } from "./data.js";
import { copier, make } from "./dom.js";

const DTYPES = ["float64", "float32", "bfloat16"];
const PACE = 160; // milliseconds of a step while it plays
const [WIDE, HIGH] = [128, 14]; // pixels of a strip of errors
const SMALLEST = 2 ** -27; // of the largest output: half of the rounding of float32

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./data.js").SubjectSaid} SubjectSaid */

/** @param {Data} data @param {State} state */
export function forms(data, state) {
  const element = make("div", { class: "view forms" });
  let size = "";
  const subject = () => data.about.subjects[data.triangles[state.now.k].said.subject];
  const holds = make("section", { "aria-label": "state" });
  const map = apart(data, state, subject);
  const table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "forms" });
  const draw = () => {
    const shown = subject();
    if (!shown.forms.length) {
      element.replaceChildren(make("p", {}, `${shown.name} is a module: it has one form, its own.`));
      return;
    }
    const sizes = Object.keys(shown.forms[0].errors);
    if (!sizes.includes(size)) size = sizes[sizes.length - 1];
    const choices = sizes.map((name) => make("button", {
      type: "button", "aria-pressed": `${name === size}`, onclick: () => { size = name; draw(); },
    }, `T = ${name}`));
    element.replaceChildren(
      make("h2", {}, `${shown.name}: one function, ${shown.forms.length} programs`),
      make("p", {}, "How far each is from the loop in float64, as a part of the largest output. Equal means "
        + "equal to rounding: some 1e−16 in float64, 1e−7 in float32, 4e−3 in bfloat16."),
      make("div", { class: "tools", role: "group", "aria-label": "how many positions" }, ...choices),
      table, holds, map.element,
      make("div", { class: "tools" }, copier("copy as Python", () => data.about.python)),
      ...shown.forms.map((form) => make("details", {},
        make("summary", {}, make("b", {}, form.name), ` ${form.cost}`),
        make("pre", { tabindex: "0", "aria-label": `lines of ${form.name}` }, form.code))));
    fill(table, data, state, shown, size);
    step(holds, data, state, shown);
    map.draw();
  };
  state.watch((now, before) => {
    if (now.view !== "forms") return;
    if (now.k !== before.k) draw();
    else if (now.t !== before.t) {
      fill(table, data, state, subject(), size);
      step(holds, data, state, subject());
    }
  });
  return { element, draw };
}

/** The position whose outputs are shown: the chosen one, or the last that was run.
 * @param {Data} data @param {State} state @param {SubjectSaid} shown */
function at(data, state, shown) {
  return Math.min(state.now.t * data.about.ratio, shown.forms[0].outputs[1] - 1);
}

/** @param {HTMLElement} table @param {Data} data @param {State} state @param {SubjectSaid} shown
 * @param {string} size */
function fill(table, data, state, shown, size) {
  const t = at(data, state, shown);
  const head = ["form", ...DTYPES.map((name) => `error in ${name}`), "at each position, float32",
    `output at ${data.place(t)}`];
  const rows = shown.forms.map((form) => make("tr", {},
    make("th", { scope: "row" }, form.name),
    ...DTYPES.map((name) => {
      const error = form.errors[size][name];
      return make("td", {}, error === null ? "cannot run" : digits(error, 2));
    }),
    make("td", {}, strip(data, form, t)),
    make("td", {}, value(data, form.outputs, t))));
  table.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) =>
    make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows)));
}

/** How far a form is from the loop at each position; the chosen one is marked.
 * @param {Data} data @param {import("./data.js").FormSaid} form @param {number} t */
function strip(data, form, t) {
  const canvas = make("canvas", { width: `${WIDE}`, height: `${HIGH}`, role: "img",
    "aria-label": `error at ${t}: ${value(data, form.apart, t)}` });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const colours = palette();
  const n = form.apart[1];
  for (let i = 0; i < n; i++) {
    const error = data.number(form.apart, i) ?? 0;
    const high = Math.min(HIGH, (HIGH / 8) * Math.max(0, Math.log2(error / SMALLEST) + 1));
    context.fillStyle = css(error > 2 ** -18 ? colours.leak : colours.weight);
    context.fillRect((i * WIDE) / n, HIGH - high, Math.ceil(WIDE / n), high);
  }
  context.fillStyle = css(colours.accent);
  context.fillRect(((t + 0.5) * WIDE) / n, 0, 1, HIGH);
  return canvas;
}

/** What the state holds after the chosen position, and the way through all of them.
 * @param {HTMLElement} section @param {Data} data @param {State} state @param {SubjectSaid} shown */
function step(section, data, state, shown) {
  const n = shown.forms[0].outputs[1];
  const t = at(data, state, shown);
  if (!section.querySelector("input") || section.dataset.name !== shown.name) {
    section.dataset.name = shown.name;
    section.replaceChildren(...scrubber(data, state, n), make("dl", { class: "holds" }));
  }
  const slider = /** @type {HTMLInputElement} */ (section.querySelector("input"));
  slider.value = `${t}`;
  /** @type {HTMLElement} */ (section.querySelector("h3")).textContent = `what it holds after ${data.place(t)}`;
  /** @type {HTMLElement} */ (section.querySelector("dl")).replaceChildren(...shown.holds.flatMap((part) => {
    const count = part.counts[t];
    const each = part.numbers[1] / part.counts.length;
    const numbers = Array.from({ length: Math.min(count, each) }, (_, i) =>
      digits(data.number(part.numbers, t * each + i) ?? 0, 4));
    const grows = new Set(part.counts).size > 1 ? ", and grows" : "";
    const more = count > each ? " …" : "";
    return [make("dt", {}, `${part.name}: ${count} ${count === 1 ? "number" : "numbers"}${grows}`),
      make("dd", {}, numbers.join("  ") + more)];
  }));
}

/** A slider over the positions, and a button that walks along it.
 * @param {Data} data @param {State} state @param {number} n */
function scrubber(data, state, n) {
  const go = (/** @type {number} */ t) => state.set({ t: data.cell(t), locked: true });
  const slider = make("input", { type: "range", min: "0", max: `${n - 1}`, step: `${data.about.ratio}`,
    "aria-label": "position", oninput: () => go(Number(slider.value)) });
  let timer = 0;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const name = () => (still.matches ? "next" : "play");
  const play = make("button", { type: "button", onclick: () => {
    if (still.matches) return go((Number(slider.value) + data.about.ratio) % n);
    if (timer) return stop();
    play.textContent = "stop";
    if (Number(slider.value) >= n - 1) go(0);
    timer = setInterval(() => {
      const next = Number(slider.value) + data.about.ratio;
      if (next >= n || state.now.view !== "forms") stop();
      else go(next);
    }, PACE);
  } }, name());
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = name();
  }
  return [make("h3"), make("div", { class: "tools" }, play, slider)];
}

/** @param {Data} data @param {import("./data.js").Span | null} span @param {number} i */
function value(data, span, i) {
  const found = data.number(span, i);
  return found === null ? "cannot run" : digits(found, 6);
}
