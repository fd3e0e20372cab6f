// The chosen row in numbers: as a strip, its top positions, its sums, the cell, who reads it.

import { css, palette, share } from "./colour.js";
import { digits } from "./data.js";
import { make } from "./dom.js";

const TOP = 6;
const AROUND = 120; // tokens that are written out before the chosen row
const EXACT = 6; // digits of numbers that are kept as float64

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./state.js").State} State */

/** The largest weights, by size. @param {{place: number, weight: number}[]} found */
function largest(found) {
  return found.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, TOP);
}

export class Row {
  /** @param {Data} data @param {State} state */
  constructor(data, state) {
    this.data = data;
    this.state = state;
    this.title = make("h2", { id: "row-title" });
    this.strip = make("canvas", { class: "strip", "aria-hidden": "true" });
    this.facts = make("dl", { class: "facts" });
    this.reads = make("ol", { class: "tops", id: "reads" });
    this.readers = make("ol", { class: "tops", id: "readers" });
    this.readersTitle = make("h3");
    this.words = make("p", { class: "words", "aria-hidden": "true" });
    this.series = make("canvas", { class: "strip", role: "img" });
    this.table = make("tbody");
    this.details = make("details", { ontoggle: () => this.rows() },
      make("summary", {}, "table of this row"),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "table of the chosen row" },
        make("table", {}, make("thead", {}, make("tr", {}, ...["position read", "weight"].map((name) =>
          make("th", { scope: "col" }, name)))), this.table)));
    this.element = make("section", { class: "row", "aria-labelledby": "row-title" },
      this.title, this.strip, this.series, this.words, this.facts,
      make("h3", {}, "it reads most"), this.reads, this.readersTitle, this.readers, this.details);
    this.colours = palette();
    state.watch((now, before) => this.update(now, before));
    new ResizeObserver(() => this.bars()).observe(this.element);
  }

  get triangle() {
    return this.data.triangles[this.state.now.k];
  }

  /** The weights of row t: up to the diagonal, or all where there is a leak. */
  weights() {
    const { triangle, state } = this;
    const end = triangle.said.full ? state.size : state.now.t + 1;
    return Array.from({ length: end }, (_, s) => triangle.get(state.now.t, s));
  }

  /** @param {import("./state.js").Chosen} now @param {import("./state.js").Chosen} before */
  update(now, before) {
    const moved = now.t !== before.t || now.k !== before.k;
    if (moved || now.scale !== before.scale || now.own !== before.own) this.bars();
    if (moved) this.row();
    if (moved || now.s !== before.s) this.cell();
    if (moved || now.s !== before.s) this.column();
    if (moved && this.details.open) this.rows();
  }

  all() {
    this.colours = palette();
    this.bars();
    this.row();
    this.cell();
    this.column();
    if (this.details.open) this.rows();
  }

  row() {
    const { data, state, triangle } = this;
    this.title.textContent = `${triangle.said.name}: position ${data.cellPlace(state.now.t)} reads`;
    const found = this.weights().map((weight, place) => ({ place, weight })).filter((one) => one.weight);
    this.list(this.reads, largest(found), "nothing");
    this.tokens();
  }

  /** @param {HTMLOListElement} list @param {{place: number, weight: number}[]} tops
   * @param {string} none */
  list(list, tops, none) {
    const { data, triangle } = this;
    const most = Math.abs(tops[0]?.weight ?? 1);
    list.replaceChildren(...(tops.length ? tops : [null]).map((one) => {
      if (!one) return make("li", {}, none);
      const bar = make("span", { class: one.weight < 0 ? "bar negative" : "bar", "aria-hidden": "true" });
      bar.style.width = `${(60 * Math.abs(one.weight)) / most}px`;
      const leak = list === this.reads ? triangle.leaks(this.state.now.t, one.place) : triangle.leaks(one.place, this.state.now.s);
      return make("li", {}, make("b", {}, data.cellPlace(one.place)), " ",
        make("span", { class: "number" }, data.shown(one.weight)), leak ? " ! leak " : " ", bar);
    }));
  }

  cell() {
    const { data, state, triangle } = this;
    const { t, s } = state.now;
    const { said } = triangle;
    const weight = triangle.get(t, s);
    const first = t * data.about.ratio;
    const future = s > t && !triangle.leaks(t, s);
    const pairs = [
      [`row ${data.positions(t)}, column ${data.positions(s)}`,
        future ? "0, the future is never read" : weight === 0 ? "0, exactly" :
          `${data.shown(weight)}${triangle.leaks(t, s) ? " ! a leak" : ""}`, "cell"],
      [`sum of row ${first}`, this.number(said.sums, first), "sum"],
      ["effective length", this.number(said.lengths, first), "length"],
    ];
    if (said.explained) {
      pairs.push(["w x, summed", this.number(said.explained, first), "explained"]);
      pairs.push(["its own output", this.number(said.output, first), "output"]);
    }
    this.facts.replaceChildren(...pairs.map(([name, value, key]) =>
      make("div", {}, make("dt", {}, name), make("dd", { "data-fact": key }, value))));
  }

  /** @param {import("./data.js").Span | null} span @param {number} i */
  number(span, i) {
    const found = this.data.number(span, i);
    return found === null ? "none" : digits(found, EXACT);
  }

  /** Reverse: who reads the chosen column. */
  column() {
    const { data, state, triangle } = this;
    const { s } = state.now;
    this.readersTitle.textContent = `who reads ${data.cellPlace(s)}`;
    const found = [];
    for (let t = triangle.said.full ? 0 : s; t < state.size; t++) {
      const weight = triangle.get(t, s);
      if (weight) found.push({ place: t, weight });
    }
    this.list(this.readers, largest(found), "no position");
  }

  /** The text up to the row, each token as strong as its weight. */
  tokens() {
    const { data, state, triangle, colours } = this;
    this.words.hidden = !data.here.named || data.about.ratio > 1;
    if (this.words.hidden) return;
    const spaced = data.here.tokens.some((token) => [...token].length > 2 // words, years, numbers of tokens
      || /^\d\d$/.test(token));
    this.words.classList.toggle("spaced", spaced);
    const { t } = state.now;
    const first = Math.max(0, t - AROUND);
    const end = triangle.said.full ? Math.min(state.size, t + 16) : t + 1;
    let top = 0;
    for (let s = first; s < end; s++) top = Math.max(top, Math.abs(triangle.get(t, s)));
    while (this.words.childNodes.length > end - first) this.words.lastChild?.remove();
    while (this.words.childNodes.length < end - first) this.words.append(make("span"));
    for (let s = first; s < end; s++) {
      const word = /** @type {HTMLElement} */ (this.words.childNodes[s - first]);
      const weight = triangle.get(t, s);
      const hue = s > t ? colours.leak : weight < 0 ? colours.negative : colours.weight;
      word.textContent = data.here.tokens[s];
      word.className = s === t ? "here" : "";
      word.style.backgroundColor = `rgb(${hue.join(" ")} / ${0.45 * share(weight, top, "linear")})`;
    }
  }

  /** The strip: one bar for each position, down where the weight is negative. */
  bars() {
    const wide = this.element.clientWidth;
    if (!wide) return;
    const { strip, state, colours, triangle } = this;
    drawSeries(this.series, this.data, state, colours, wide);
    const high = 64;
    const context = sized(strip, wide, high);
    const weights = this.weights();
    const signed = weights.some((weight) => weight < 0);
    const base = signed ? high / 2 : high - 1;
    const room = signed ? high / 2 - 1 : high - 2;
    const top = state.now.own ? triangle.top : this.data.top;
    const each = wide / state.size;
    /** @type {Map<number, number>} */
    const tallest = new Map(); // pixel -> weight, the largest of those that fall on it
    weights.forEach((weight, s) => {
      const x = Math.floor(s * each);
      if (weight && Math.abs(weight) > Math.abs(tallest.get(x) ?? 0)) tallest.set(x, weight);
    });
    for (const [x, weight] of tallest) {
      const size = Math.max(1, room * share(weight, top, state.now.scale));
      const ahead = x / each >= state.now.t + 1;
      context.fillStyle = css(ahead ? colours.leak : weight < 0 ? colours.negative : colours.weight);
      context.fillRect(x, weight < 0 ? base : base - size, Math.max(1, each - (each > 3 ? 1 : 0)), size);
    }
    context.fillStyle = css(colours.ink);
    context.fillRect(0, base, wide, 1);
    context.fillStyle = css(colours.accent);
    context.fillRect((state.now.t + 0.5) * each - 0.5, 0, 1, high);
  }

  /** The table, filled only while it is open. */
  rows() {
    if (!this.details.open) return;
    const { data } = this;
    this.table.replaceChildren(...this.weights().map((weight, s) =>
      make("tr", {}, make("th", { scope: "row" }, data.cellPlace(s)), make("td", {}, data.shown(weight)))));
  }
}

/** A canvas of this size, cleared. @param {HTMLCanvasElement} canvas @param {number} wide
 * @param {number} high */
function sized(canvas, wide, high) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(wide * ratio)) {
    canvas.width = Math.round(wide * ratio);
    canvas.height = high * ratio;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${high}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, wide, high);
  return context;
}

/** Numbers that were given, as dots, and the output, as a line. @param {HTMLCanvasElement} canvas
 * @param {Data} data @param {State} state @param {import("./colour.js").Palette} colours
 * @param {number} wide */
function drawSeries(canvas, data, state, colours, wide) {
  const { said } = data.triangles[state.now.k];
  const { values } = data.here;
  canvas.hidden = !values || !said.output;
  if (!values || !said.output) return;
  const [x, y] = [values, said.output].map(([first, n]) => data.numbers.subarray(first, first + n));
  const high = 90;
  const context = sized(canvas, wide, high);
  const [low, top] = [x, y].reduce(([a, b], row) => [Math.min(a, ...row), Math.max(b, ...row)], [Infinity, -Infinity]);
  const at = (/** @type {number} */ i) => ((i + 0.5) * wide) / x.length;
  const up = (/** @type {number} */ value) => high - 4 - ((high - 8) * (value - low)) / (top - low || 1);
  context.fillStyle = css(colours.ink);
  x.forEach((value, i) => context.fillRect(at(i) - 1.5, up(value) - 1.5, 3, 3));
  context.strokeStyle = css(colours.weight);
  context.lineWidth = 2;
  context.beginPath();
  y.forEach((value, i) => context.lineTo(at(i), up(value)));
  context.stroke();
  context.fillStyle = css(colours.accent);
  context.fillRect(at(state.now.t * data.about.ratio) - 0.5, 0, 1, high);
  canvas.setAttribute("aria-label", `dots: x, from ${digits(low, 4)} to ${digits(top, 4)}; line: the output`);
  canvas.title = "dots: x; line: its own output y";
}
