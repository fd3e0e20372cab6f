// The view "Forms": every form of a mixer beside its loop.

import { digits } from "./data.js";
import { make } from "./dom.js";

const DTYPES = ["float64", "float32", "bfloat16"];

/** @param {import("./data.js").Data} data @param {import("./state.js").State} state */
export function forms(data, state) {
  const element = make("div", { class: "view forms" });
  const draw = () => {
    const { t, k } = state.now;
    const { subject } = data.triangles[k].said;
    const shown = data.about.subjects[subject];
    if (!shown.forms.length) {
      element.replaceChildren(make("p", {}, `${shown.name} is a module: it has one form, its own.`));
      return;
    }
    const n = shown.forms[0].outputs[1];
    const at = Math.min(t * data.about.ratio, n - 1);
    const head = ["form", ...DTYPES.map((name) => `error in ${name}`), `output at ${data.place(at)}`, "cost"];
    const rows = shown.forms.map((form) => make("tr", {},
      make("th", { scope: "row" }, form.name),
      ...DTYPES.map((name) => {
        const error = form.errors[name];
        return make("td", { class: "number" }, error === null ? "cannot run" : error === 0 ? "0" : digits(error, 2));
      }),
      make("td", { class: "number" }, value(data, form, at)),
      make("td", {}, form.cost)));
    element.replaceChildren(
      make("h2", {}, `${shown.name}: one function, ${shown.forms.length} programs`),
      make("p", {}, `Errors are the largest difference from the loop in float64 over the first ${n} positions, `
        + "as a part of the largest output. In float64 equal means equal to rounding, some 1e−16; "
        + "in bfloat16 the same rounding is some 4e−3."),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "forms" },
        make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) =>
          make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows))),
      ...shown.forms.map((form) => make("details", {},
        make("summary", {}, `the lines of ${form.name}`),
        make("pre", { tabindex: "0", "aria-label": `lines of ${form.name}` }, form.code))));
  };
  state.watch((now, before) => {
    if (now.view === "forms" && (now.k !== before.k || now.t !== before.t)) draw();
  });
  return { element, draw };
}

/** @param {import("./data.js").Data} data @param {import("./data.js").FormSaid} form
 * @param {number} at */
function value(data, form, at) {
  const found = data.number(form.outputs, at);
  return found === null ? "cannot run" : digits(found, 6);
}
