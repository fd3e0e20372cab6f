// A chart with two logarithmic axes: dots, lines with a mark of their own, guides for slopes.

import { colours, css, palette } from "./colour.js";
import { make } from "./dom.js";

const [HIGH, LEFT, RIGHT, TOP, BELOW] = [320, 58, 74, 22, 34]; // pixels
const KINDS = 8; // colours of lines, in the style

/** @typedef {[string, number[][], (number | null)[]]} Line name, every run at each T, their medians */

export class Chart {
  /** @param {string} title @param {string[]} names in the order of the colours
   * @param {number[]} sizes @param {(value: number) => string} unit @param {Line[]} lines */
  constructor(title, names, sizes, unit, lines) {
    this.title = title;
    this.names = names;
    this.sizes = sizes;
    this.unit = unit;
    this.lines = lines;
    const values = lines.flatMap(([, runs, middle]) => [...runs.flat(), ...middle].map(Number)).filter((y) => y > 0);
    this.low = Math.floor(Math.log10(Math.min(...values)) * 2) / 2;
    this.high = Math.max(Math.ceil(Math.log10(Math.max(...values)) * 2) / 2, this.low + 0.5);
    this.empty = !values.length;
    this.canvas = make("canvas", { role: "img", "aria-label": `${title} against T, as in the table` });
    this.element = make("figure", {}, this.canvas);
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  draw() {
    const { canvas } = this;
    const wide = this.element.clientWidth;
    if (!wide || this.empty) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(wide * ratio);
    canvas.height = HIGH * ratio;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${HIGH}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [first, last] = [this.sizes[0], this.sizes[this.sizes.length - 1]].map(Math.log2);
    this.x = (/** @type {number} */ T) => LEFT + ((wide - LEFT - RIGHT) * (Math.log2(T) - first)) / (last - first || 1);
    this.y = (/** @type {number} */ value) =>
      HIGH - BELOW - ((HIGH - TOP - BELOW) * (Math.log10(value) - this.low)) / (this.high - this.low || 1);
    context.font = "12px system-ui, sans-serif";
    this.axes(context, wide);
    this.guides(context, wide);
    const hues = colours(Array.from({ length: KINDS }, (_, i) => `form-${i}`));
    const labels = this.lines.map(([name, runs, middle]) => {
      const kind = this.names.indexOf(name) % KINDS;
      return this.line(context, name, runs, middle, css(hues[`form-${kind}`]), kind);
    });
    // Names beside the ends, moved apart where they would cover each other.
    let free = TOP;
    for (const label of labels.filter((one) => one).sort((a, b) => (a?.y ?? 0) - (b?.y ?? 0))) {
      if (!label) continue;
      free = Math.max(free, label.y);
      context.fillStyle = label.hue;
      context.textBaseline = "middle";
      context.textAlign = "left";
      halo(context, label.name, label.x + 9, free);
      free += 13;
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {number} wide */
  axes(context, wide) {
    const { ink, hatch } = palette();
    context.clearRect(0, 0, wide, HIGH);
    context.strokeStyle = css(hatch);
    context.fillStyle = css(ink);
    context.textBaseline = "middle";
    context.textAlign = "right";
    const step = this.high - this.low <= 1 ? 0.5 : 1;
    for (let p = Math.ceil(this.low / step) * step; p <= this.high; p += step) {
      const y = this.y?.(10 ** p) ?? 0;
      line(context, LEFT, y, wide - RIGHT, y);
      context.fillText(this.unit(10 ** p), LEFT - 6, y, LEFT - 8);
    }
    context.textBaseline = "top";
    context.textAlign = "center";
    this.sizes.forEach((T, i) => {
      const x = this.x?.(T) ?? 0;
      line(context, x, TOP, x, HIGH - BELOW);
      if (i % Math.ceil((this.sizes.length * 42) / (wide - LEFT - RIGHT)) === 0) context.fillText(`${T}`, x, HIGH - BELOW + 5);
    });
    context.textAlign = "left";
    context.fillText("T, positions →", LEFT, HIGH - 14);
    context.fillText(this.title, 2, 2, wide - 4);
  }

  /** What grows as T and as T², from the lower left corner. @param {CanvasRenderingContext2D} context
   * @param {number} wide */
  guides(context, wide) {
    const { ink } = palette();
    const first = this.sizes[0];
    const last = this.sizes[this.sizes.length - 1];
    context.save();
    context.beginPath();
    context.rect(LEFT, TOP, wide - LEFT - RIGHT, HIGH - TOP - BELOW);
    context.clip();
    context.strokeStyle = context.fillStyle = css(ink);
    context.globalAlpha = 0.55;
    context.setLineDash([3, 4]);
    for (const power of [1, 2]) {
      const start = 10 ** (this.low + 0.15);
      const at = (/** @type {number} */ T) => this.y?.(start * (T / first) ** power) ?? 0;
      line(context, this.x?.(first) ?? 0, at(first), this.x?.(last) ?? 0, at(last));
      const span = Math.min(last, first * 2 ** Math.floor((this.high - this.low - 0.3) / 0.301 / power));
      context.textAlign = "right";
      context.textBaseline = "bottom";
      halo(context, power === 1 ? "∝ T" : "∝ T²", (this.x?.(span) ?? 0) - 8, at(span));
    }
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {string} name @param {number[][]} runs
   * @param {(number | null)[]} middle @param {string} hue @param {number} kind */
  line(context, name, runs, middle, hue, kind) {
    const at = (/** @type {number} */ i, /** @type {number} */ value) => [this.x?.(this.sizes[i]) ?? 0, this.y?.(value) ?? 0];
    context.strokeStyle = context.fillStyle = hue;
    context.globalAlpha = 0.4;
    runs.forEach((some, i) => some.forEach((value) => {
      const [x, y] = at(i, value);
      context.fillRect(x - 1, y - 1, 2, 2);
    }));
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    /** @type {{name: string, x: number, y: number, hue: string} | null} */
    let end = null;
    context.beginPath();
    middle.forEach((value, i) => {
      if (!value) return;
      const [x, y] = at(i, value);
      if (end) context.lineTo(x, y);
      else context.moveTo(x, y);
      end = { name, x, y, hue };
    });
    context.stroke();
    middle.forEach((value, i) => {
      if (value) mark(context, kind, at(i, value));
    });
    context.lineWidth = 1;
    return /** @type {{name: string, x: number, y: number, hue: string} | null} */ (end);
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} to
 * @param {number} down */
function line(context, x, y, to, down) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(to, down);
  context.stroke();
}

/** Text that is read above lines. @param {CanvasRenderingContext2D} context @param {string} text
 * @param {number} x @param {number} y */
function halo(context, text, x, y) {
  context.save();
  context.setLineDash([]);
  context.strokeStyle = css(palette().paper);
  context.lineWidth = 4;
  context.strokeText(text, x, y, RIGHT - 10);
  context.restore();
  context.fillText(text, x, y, RIGHT - 10);
}

/** A mark of its own for each line, so that a colour is not all that tells them apart.
 * @param {CanvasRenderingContext2D} context @param {number} kind @param {number[]} at */
function mark(context, kind, [x, y]) {
  const corners = [0, 4, 3, 5, 4, 3, 6, 0][kind];
  const turn = [0, Math.PI / 4, -Math.PI / 2, -Math.PI / 2, 0, Math.PI / 2, 0, 0][kind];
  context.beginPath();
  if (!corners) context.arc(x, y, 3.5, 0, 2 * Math.PI);
  for (let i = 0; i < corners; i++) {
    const angle = turn + (2 * Math.PI * i) / corners;
    context.lineTo(x + 4.5 * Math.cos(angle), y + 4.5 * Math.sin(angle));
  }
  context.closePath();
  if (kind > 3) context.stroke();
  else context.fill();
}
