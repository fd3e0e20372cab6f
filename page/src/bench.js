// The view "Bench": time and memory against T, every run a dot, and the same as a table.

import { Chart } from "./chart.js";
import { digits } from "./data.js";
import { copier, download, make, save } from "./dom.js";

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./data.js").GrowthSaid} GrowthSaid */

/** @param {Data} data @param {import("./state.js").State} state */
export function bench(data, state) {
  const element = make("div", { class: "view bench" });
  /** @type {Chart[]} */
  let charts = [];
  const draw = () => {
    const { name, growth } = data.about.subjects[data.triangles[state.now.k].said.subject];
    if (!growth) {
      charts = [];
      element.replaceChildren(make("p", {}, `${name} was not timed: only the forms of a mixer are.`));
      return;
    }
    const names = growth.forms.map((form) => form.name);
    charts = [
      new Chart("seconds of a call", names, growth.sizes, seconds, growth.forms.map((form) => [form.name,
        growth.sizes.map((T) => runs(data, form, T)), growth.sizes.map((T) => form.medians[T] ?? null)])),
      new Chart("memory of a call at its peak", names, growth.sizes, memory, growth.forms.map((form) =>
        [form.name, [], growth.sizes.map((T) => form.bytes[T] || null)])),
    ];
    element.replaceChildren(make("h2", {}, `${name}: time against T`), ...said(growth),
      tools(data, name, growth, charts[0]),
      make("div", { class: "charts" }, ...charts.map((chart) => chart.element)), table(growth),
      make("p", { class: "fact" }, `${growth.shape}. ${growth.machine}.`));
    for (const chart of charts) chart.draw();
  };
  state.watch((now, before) => {
    if (now.view === "bench" && now.k !== before.k) draw();
  });
  return { element, draw };
}

/** @param {GrowthSaid} growth */
function said(growth) {
  const bad = growth.forms.filter((form) => growth.refused.includes(form.name));
  return [
    ...bad.map((form) => make("p", { class: "broken" }, `✗ ${form.name}: ${form.ended}`)),
    make("ul", { class: "said" }, ...growth.said.map((text) => make("li", {}, text))),
    make("p", { class: "quiet" }, "Each form was compared with another one at every length first. A dot is a run, a "
      + "line joins the medians, dashes show what grows as T and as T². A form is called fastest only where it wins "
      + "so many rounds that chance would do it less than once in twenty times."),
  ];
}

/** @param {Data} data @param {import("./data.js").TimedSaid} form @param {number} T */
function runs(data, form, T) {
  const span = form.seconds[T];
  return span ? Array.from(data.numbers.subarray(span[0], span[0] + span[1])) : [];
}

/** @param {Data} data @param {string} name @param {GrowthSaid} growth @param {Chart} chart */
function tools(data, name, growth, chart) {
  const csv = () => ["form,T,run,seconds", ...growth.forms.flatMap((form) => growth.sizes.flatMap((T) =>
    runs(data, form, T).map((taken, i) => [form.name, T, i, taken].join(",")))), ""].join("\n");
  return make("div", { class: "tools", role: "group", "aria-label": "export" },
    make("button", { type: "button", title: "save the chart of time", onclick: () => save(chart.canvas, "times.png") }, "PNG"),
    make("button", { type: "button", title: `save every run of ${name}`,
      onclick: () => download("times.csv", new Blob([csv()], { type: "text/csv" })) }, "CSV"),
    copier("copy as Python", () => data.about.python));
}

/** @param {GrowthSaid} growth */
function table(growth) {
  const head = ["form", ...growth.sizes.map((T) => `T = ${T}`), "grows as", "memory at the end", "ended"];
  const rows = growth.forms.map((form) => {
    const last = growth.sizes.filter((T) => form.bytes[T]).pop();
    return make("tr", {}, make("th", { scope: "row" }, form.name),
      ...growth.sizes.map((T) => make("td", {}, T in form.medians ? seconds(form.medians[T]) : "")),
      make("td", {}, form.slope === null ? "" : `T^${digits(form.slope, 2)}`),
      make("td", {}, last ? `${memory(form.bytes[last] ?? 0)} at ${last}` : ""),
      make("td", { class: "why" }, form.ended));
  });
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "medians of each form" },
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) =>
      make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows)));
}

/** @param {number} value @param {string[]} units @param {number} step */
function scaled(value, units, step) {
  let i = 0;
  while (i < units.length - 1 && value >= step) {
    value /= step;
    i++;
  }
  return `${digits(value, 3)} ${units[i]}`;
}

/** @param {number} taken */
const seconds = (taken) => scaled(taken * 1e9, ["ns", "µs", "ms", "s"], 1000);

/** @param {number} bytes */
const memory = (bytes) => scaled(bytes, ["B", "kB", "MB", "GB"], 1000);
