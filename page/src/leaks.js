// The view "Leaks": the upper triangle drawn, and what was found there.

import { digits } from "./data.js";
import { copier, download, make, save } from "./dom.js";
import { gallery } from "./gallery.js";
import { Square } from "./square.js";

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function leaks(data, state) {
  const square = new Square(data, state, { leaks: true, label: "the future: row reads column" });
  const said = make("p", { class: "fact" });
  const list = make("div", { class: "findings" });
  const all = data.about.subjects.flatMap((subject) => subject.leaks.map((leak) => ({ subject, leak })));
  for (const [name, meaning] of Object.entries(data.about.groups)) {
    const some = all.filter((one) => one.leak.group === name);
    if (some.length) {
      list.append(make("section", { "aria-label": name }, make("h2", {}, `✗ ${name}`), make("p", {}, meaning),
        ...some.map((one) => finding(data, state, one.subject.name, one.leak))));
    }
  }
  for (const subject of data.about.subjects) {
    const early = subject.early !== null;
    if (!subject.leaks.length) {
      list.append(make("article", { class: early ? "bad" : "" },
        make("h2", {}, `${early ? "✗" : "✓"} ${subject.name}`),
        make("p", {}, `${early ? "An output reads a later position." : "No output reads a later position."} ${subject.tried}.`)));
    }
  }
  const rooms = data.about.gallery.length ? gallery(data, state) : null;
  const hint = "Add gallery=True, or --gallery, to compare with the faults of the verifier's gallery.";
  const element = make("div", { class: "view leaks" }, make("div", { class: "columns" },
    make("div", { class: "left" }, tools(data, state, square), square.element, said), list),
  rooms ? rooms.element : make("p", { class: "quiet" }, hint));
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
  return { element, draw: () => { square.fit(); square.draw(); say(); rooms?.draw(); }, square };
}

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state @param {Square} square */
function tools(data, state, square) {
  const csv = () => {
    const one = data.triangles[state.now.k];
    const lines = ["position that reads,position read,size"];
    for (let t = 0; t < data.size; t++) {
      for (let s = t; s < data.size; s++) if (one.leaks(t, s)) lines.push([data.positions(t), data.positions(s), one.get(t, s)].join(","));
    }
    return [...lines, ""].join("\n");
  };
  return make("div", { class: "tools", role: "group", "aria-label": "export" },
    make("button", { type: "button", title: "save this picture", onclick: () => save(square.cells, "leaks.png") }, "PNG"),
    make("button", { type: "button", title: "save every cell of the future", onclick: () =>
      download("leaks.csv", new Blob([csv()], { type: "text/csv" })) }, "CSV"),
    copier("copy as Python", () => data.about.python));
}

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state
 * @param {string} subject @param {import("./data.js").LeakSaid} leak */
function finding(data, state, subject, leak) {
  const k = data.triangles.findIndex((one) => one.said.name === leak.subject);
  const { reads } = leak;
  const show = () => state.set({ k, t: data.cell(leak.position), s: data.cell(reads ?? 0), locked: true });
  const measured = k < 0 || data.triangles[k].said.measured;
  const size = `${measured ? "It changes by" : "Its weight is"} ${digits(leak.size, 3)}.`;
  return make("article", { class: "bad" },
    make("h3", {}, `${subject}: ${leak.name}`),
    make("p", {}, reads === null ? `First: the output at ${leak.position} of a row. ${size}`
      : `First: the output at ${data.place(leak.position)} reads the input at ${data.place(reads)}. `
      + `${size} Cells above the diagonal that are not zero: ${leak.cells}.`),
    ...(k < 0 || reads === null ? [] : [make("p", {}, make("button", { type: "button", onclick: show }, "show the first"))]),
    make("p", { class: "quiet" }, leak.sentence),
    make("pre", { tabindex: "0", "aria-label": "reproducer" }, leak.reproducer),
    copier("copy the reproducer", () => leak.reproducer));
}
