// The view "Leaks": the upper triangle drawn, and what was found there.

import { digits } from "./data.js";
import { copier, make } from "./dom.js";
import { Square } from "./square.js";

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function leaks(data, state) {
  const square = new Square(data, state, { leaks: true, label: "the future: row reads column" });
  const said = make("p", { class: "fact" });
  const list = make("div", { class: "findings" });
  for (const subject of data.about.subjects) {
    for (const leak of subject.leaks) list.append(finding(data, state, subject.name, leak));
    const early = subject.early !== null;
    if (!subject.leaks.length) {
      list.append(make("article", { class: early ? "bad" : "" },
        make("h2", {}, `${early ? "✗" : "✓"} ${subject.name}`),
        make("p", {}, `${early ? "An output reads a later position." : "No output reads a later position."} ${subject.tried}.`)));
    }
  }
  const element = make("div", { class: "view leaks" }, make("div", { class: "columns" },
    make("div", { class: "left" }, square.element, said), list));
  const say = () => {
    const { ahead, name, size } = data.triangles[state.now.k].said;
    said.textContent = ahead
      ? `${name}: not zero above the diagonal: ${ahead} of ${(data.about.T * (data.about.T - 1)) / 2}.`
      : `${name}: all ${(size * (size - 1)) / 2} cells above the diagonal are exactly zero.`;
  };
  state.watch((now, before) => {
    if (now.view !== "leaks") return;
    if (now.k === before.k && now.zoom.join() === before.zoom.join()) square.mark();
    else square.draw();
    say();
  });
  say();
  return { element, draw: () => { square.fit(); square.draw(); say(); }, square };
}

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state
 * @param {string} subject @param {import("./data.js").LeakSaid} leak */
function finding(data, state, subject, leak) {
  const k = data.triangles.findIndex((one) => one.said.name === leak.subject);
  const show = () => state.set({ k, t: data.cell(leak.position), s: data.cell(leak.reads), locked: true });
  return make("article", { class: "bad" },
    make("h2", {}, `✗ ${subject}: ${leak.name}`),
    make("p", {}, `First: the output at ${data.place(leak.position)} reads the input at ${data.place(leak.reads)}. `
      + `It changes by ${digits(leak.size, 3)}. Cells above the diagonal that are not zero: ${leak.cells}.`),
    make("p", {}, make("button", { type: "button", onclick: show }, "show the first")),
    make("p", { class: "quiet" }, leak.sentence),
    make("pre", { tabindex: "0", "aria-label": "reproducer" }, leak.reproducer),
    copier("copy the reproducer", () => leak.reproducer));
}
