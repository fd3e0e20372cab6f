// A program around the page, such as a widget in a notebook, may choose, and is then told what is chosen.

/** @typedef {{row: number, column: number, shown: string}} Told positions, and a triangle's name */

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function link(data, state) {
  if (parent === self) return;
  const names = data.about.triangles.map((one) => one.name);
  let asked = false;
  const tell = () => {
    const { k, t, s } = state.now;
    const told = { row: t * data.about.ratio, column: s * data.about.ratio, shown: names[k] };
    parent.postMessage({ trilby: told }, "*");
  };
  state.watch((now, before) => {
    const moved = now.t !== before.t || now.s !== before.s || !before.locked;
    if (asked && ((now.locked && moved) || now.k !== before.k)) tell();
  });
  addEventListener("message", (event) => {
    const told = /** @type {Told | undefined} */ (event.data?.trilby);
    if (event.source !== parent || !told) return;
    asked = true;
    const k = names.indexOf(told.shown);
    state.set({ t: data.cell(told.row), s: data.cell(told.column), locked: true, ...(k < 0 ? {} : { k }) });
  });
  parent.postMessage({ trilby: "ready" }, "*");
}
