// The page of trilby.explore: the answer, the views, and what they share.

import { bench } from "./bench.js";
import { recolour } from "./colour.js";
import { load } from "./data.js";
import { make } from "./dom.js";
import { forms } from "./forms.js";
import { leaks } from "./leaks.js";
import { link } from "./link.js";
import { matrix, multiples } from "./matrix.js";
import { picker } from "./picker.js";
import { State } from "./state.js";
import { settings, story } from "./story.js";

const GLYPHS = /** @type {Record<string, string>} */ ({ ok: "✓", broken: "✗", "": "·" });
const KEYS = "Arrows move the chosen cell, Shift by ten, Page Up and Page Down by sixteen rows, Home and End "
  + "along the row. Enter locks, Escape unlocks, + and − zoom, 0 shows all.";

async function start() {
  const data = await load();
  const { about } = data;
  const t = data.cell(about.t);
  const state = new State(
    { view: "matrix", k: Math.max(0, about.triangles.findIndex((one) => one.ahead)), t, s: 0, locked: false, scale: "log", own: false, zoom: [0, 0, data.size],
      step: -1, pair: "", exhibit: "", ...(about.steps.length ? { step: 0, ...settings(data, 0) } : {}) },
    data.size, data.triangles.length,
  );
  data.k = state.now.k;
  state.watch((now) => { data.k = now.k; });
  /** @type {Record<string, {element: HTMLElement, draw: () => void}>} */
  const views = { matrix: matrix(data, state), leaks: leaks(data, state) };
  if (about.subjects.some((subject) => subject.forms.length)) views.forms = forms(data, state);
  if (about.subjects.some((subject) => subject.growth)) views.bench = bench(data, state);
  const walk = about.steps.length ? story(data, state) : null;
  if (walk) views.story = walk;
  if (!views[state.now.view]) state.now.view = "matrix";
  const live = make("p", { class: "unseen", "aria-live": "polite" });
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  app.replaceChildren(
    make("header", {}, make("h1", {}, "trilby"), clauses(about.clauses, state)),
    tabs(views, state),
    ...(walk ? [walk.bar] : []),
    (about.triangles[0].head ? picker : multiples)(data, state),
    ...Object.entries(views).map(([name, view]) => {
      view.element.id = `view-${name}`;
      view.element.setAttribute("role", "tabpanel");
      view.element.setAttribute("aria-labelledby", `tab-${name}`);
      return view.element;
    }),
    make("p", { class: "unseen", id: "keys" }, KEYS), live,
    make("footer", {}, make("p", { id: "precision" }, `${about.precision}.`
      + (about.more ? " The page that `.save(\"page.html\")` writes holds more." : "")),
    make("p", {}, "Hatched: exactly zero. ", make("b", {}, "!"), " a weight of the future. ",
      make("b", {}, "−"), ` a negative weight. ${KEYS}`)),
  );
  const show = () => {
    for (const [name, view] of Object.entries(views)) view.element.hidden = name !== state.now.view;
    views[state.now.view].draw();
  };
  state.watch((now, before) => {
    if (now.view !== before.view) show();
    if (now.locked && (now.t !== before.t || now.s !== before.s || !before.locked)) {
      const one = data.triangles[now.k];
      live.textContent = `row ${data.cellPlace(now.t)}, column ${data.cellPlace(now.s)}: ${data.shown(one.get(now.t, now.s))}`;
    }
  });
  link(data, state);
  recolour(show);
  show();
  document.documentElement.dataset.ready = "1";
}

/** The answer: each clause leads to its view. @param {import("./data.js").Clause[]} said
 * @param {State} state */
function clauses(said, state) {
  return make("ul", { class: "answer", "aria-label": "the answer" }, ...said.map((clause) =>
    make("li", {}, make("button", {
      type: "button", class: clause.mark, onclick: () => state.set({ view: clause.view }),
    }, `${GLYPHS[clause.mark]} ${clause.text}`))));
}

/** @param {Record<string, unknown>} views @param {State} state */
function tabs(views, state) {
  const names = Object.keys(views);
  const list = make("div", { class: "tabs", role: "tablist", "aria-label": "views" });
  for (const name of names) {
    list.append(make("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `view-${name}`,
      onclick: () => state.set({ view: name }),
    }, name[0].toUpperCase() + name.slice(1)));
  }
  const mark = () => [...list.children].forEach((tab, i) => {
    const chosen = names[i] === state.now.view;
    tab.setAttribute("aria-selected", `${chosen}`);
    tab.setAttribute("tabindex", chosen ? "0" : "-1");
  });
  list.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = names[(names.indexOf(state.now.view) + by + names.length) % names.length];
    state.set({ view: next });
    /** @type {HTMLElement} */ (list.children[names.indexOf(next)]).focus();
    event.preventDefault();
  });
  state.watch(mark);
  mark();
  return list;
}

start().catch((error) => {
  // What the page held before, the same as text, stays.
  document.getElementById("app")?.prepend(make("p", {}, `This browser cannot show the page (${error}). As text:`));
});
