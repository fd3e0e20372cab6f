// The story: a path through the other views. A step only sets what is chosen, so that a reader can
// leave the path anywhere, and come back.

import { make } from "./dom.js";

const OWN = "button, input, select, summary, textarea, a, pre"; // what takes the space bar itself

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function story(data, state) {
  const { steps } = data.about;
  const go = (/** @type {number} */ n) => {
    const step = Math.max(0, Math.min(steps.length - 1, n));
    state.set({ step, ...settings(data, step) });
  };
  const title = make("h2");
  const text = make("p");
  /** @param {string} label @param {() => void} act */
  const button = (label, act) => make("button", { type: "button", onclick: act }, label);
  const back = button("back", () => go(state.now.step - 1));
  const next = button("continue (space)", () => go(state.now.step + 1));
  const again = button("back to the path", () => go(state.now.step));
  const leave = button("leave", () => state.set({ step: -1, view: "story" }));
  const bar = make("section", { class: "story", "aria-label": "story" },
    make("div", { "aria-live": "polite" }, title, text), make("div", { class: "tools" }, back, next, again, leave));
  const list = make("ol", {}, ...steps.map((step, n) => make("li", {},
    make("button", { type: "button", onclick: () => go(n) }, step.title), make("p", {}, step.text))));
  const element = make("div", { class: "view path" }, make("h2", {}, "From the mean to the delta rule"),
    make("p", {}, "Each step sets the other views. Leave it where you like: the space bar goes on from there."), list);
  const draw = () => {
    const { step } = state.now;
    bar.hidden = step < 0;
    [...list.children].forEach((one, n) => one.toggleAttribute("aria-current", n === step));
    if (step < 0) return;
    title.textContent = `${step + 1} of ${steps.length}: ${steps[step].title}`;
    text.textContent = steps[step].text;
    back.disabled = step === 0;
    next.disabled = step === steps.length - 1;
    const wanted = Object.entries(settings(data, step));
    again.hidden = wanted.every(([name, value]) => `${/** @type {any} */ (state.now)[name]}` === `${value}`);
  };
  state.watch(draw);
  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    const on = state.now.step >= 0 || state.now.view === "story";
    if (event.key !== " " || !on || event.ctrlKey || event.altKey || target.closest(OWN)) return;
    event.preventDefault();
    go(state.now.step + (event.shiftKey ? -1 : 1));
  });
  draw();
  return { bar, element, draw };
}

/** What a step chooses. @param {import("./data.js").Data} data @param {number} n
 * @returns {Partial<import("./state.js").Chosen>} */
export function settings(data, n) {
  const step = data.about.steps[n];
  return {
    view: step.view, k: step.shows, t: data.cell(step.row), s: data.cell(step.column), locked: true,
    scale: step.scale, own: true, zoom: [0, 0, data.size],
  };
}
