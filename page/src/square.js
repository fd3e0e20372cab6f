// The zoomed triangle: a canvas with the cells, and one above it with what is chosen.

import { css, palette, share } from "./colour.js";
import { make } from "./dom.js";

/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./state.js").State} State */

const SMALLEST = 4; // pixels of a leak, so that a single one is seen
const RIGHT = 16; // pixels beside the last column, for its label
const LETTERS = 13; // pixels of a cell from which its own token stands beside it

export class Square {
  /** @param {Data} data @param {State} state @param {{leaks: boolean, label: string}} how */
  constructor(data, state, how) {
    this.data = data;
    this.state = state;
    this.how = how;
    this.cells = make("canvas", { "aria-hidden": "true" });
    this.marks = make("canvas", {
      class: "marks", tabindex: "0", role: "application", "aria-label": how.label,
      "aria-roledescription": "triangle", "aria-describedby": "keys",
    });
    this.element = make("div", { class: "square" }, this.cells, this.marks);
    this.colours = palette();
    this.left = 54;
    this.above = 40;
    this.side = 0;
    /** @type {{x: number, y: number, zoom: [number, number, number], far: boolean} | null} */
    this.drag = null;
    this.listen();
    new ResizeObserver(() => this.fit()).observe(this.element);
  }

  fit() {
    const wide = this.element.clientWidth;
    if (!wide) return;
    const side = Math.max(120, Math.min(wide - this.left - RIGHT, 620));
    const ratio = devicePixelRatio || 1;
    if (side === this.side && this.cells.width) return;
    this.side = side;
    for (const canvas of [this.cells, this.marks]) {
      canvas.width = Math.round((side + this.left + RIGHT) * ratio);
      canvas.height = Math.round((side + this.above + 2) * ratio);
      canvas.style.width = `${side + this.left + RIGHT}px`;
      canvas.style.height = `${side + this.above + 2}px`;
    }
    this.element.style.height = `${side + this.above + 2}px`;
    this.draw();
  }

  get triangle() {
    return this.data.triangles[this.state.now.k];
  }

  /** Pixels of one cell. */
  get each() {
    return this.side / this.state.now.zoom[2];
  }

  draw() {
    if (!this.side) return;
    this.colours = palette();
    const context = /** @type {CanvasRenderingContext2D} */ (this.cells.getContext("2d"));
    const ratio = this.cells.width / (this.side + this.left + RIGHT);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.cells.width, this.cells.height);
    this.hatch(context);
    this.paint(context, ratio);
    this.axes(context);
    this.mark();
  }

  /** What is zero is seen through the cells: hatched. @param {CanvasRenderingContext2D} context */
  hatch(context) {
    const { left, above, side, colours } = this;
    context.fillStyle = css(colours.future);
    context.fillRect(left, above, side, side);
    context.save();
    context.beginPath();
    context.rect(left, above, side, side);
    context.clip();
    context.strokeStyle = css(colours.hatch);
    context.lineWidth = 1;
    context.beginPath();
    for (let x = -side; x < side; x += 6) {
      context.moveTo(left + x, above + side);
      context.lineTo(left + x + side, above);
    }
    context.stroke();
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {number} ratio */
  paint(context, ratio) {
    const { triangle, side, left, above } = this;
    const [t0, s0, span] = this.state.now.zoom;
    let k = 0;
    while (span / 2 ** k > side * ratio) k++;
    const level = triangle.level(k);
    const at = (/** @type {number} */ t) => Math.floor(t / 2 ** k);
    const rows = [at(t0), Math.min(level.n, at(t0 + span - 1) + 1)];
    const columns = [at(s0), Math.min(level.n, at(s0 + span - 1) + 1)];
    const high = rows[1] - rows[0];
    const wide = columns[1] - columns[0];
    const image = this.image(level, rows, columns);
    const small = new OffscreenCanvas(wide, high);
    /** @type {OffscreenCanvasRenderingContext2D} */ (small.getContext("2d")).putImageData(image, 0, 0);
    context.save();
    context.beginPath();
    context.rect(left, above, side, side);
    context.clip();
    context.imageSmoothingEnabled = false;
    const each = (side / span) * 2 ** k;
    const x = left + (columns[0] * 2 ** k - s0) * (side / span);
    const y = above + (rows[0] * 2 ** k - t0) * (side / span);
    context.drawImage(small, x, y, wide * each, high * each);
    this.signs(context, level, rows, columns, x, y, each);
    context.restore();
  }

  /** @param {import("./data.js").Level} level @param {number[]} rows @param {number[]} columns */
  image(level, rows, columns) {
    const { colours, triangle } = this;
    const { scale, own } = this.state.now;
    const top = own ? triangle.top : this.data.top;
    const wide = columns[1] - columns[0];
    const image = new ImageData(wide, rows[1] - rows[0]);
    const pixels = image.data;
    const quiet = this.how.leaks ? 0.35 : 1; // of the past, where the future is what matters
    for (let i = rows[0], at = 0; i < rows[1]; i++) {
      for (let j = columns[0]; j < columns[1]; j++, at += 4) {
        const weight = level.get(i, j);
        if (weight === 0) continue;
        const leak = j > i || (i === j && level.leaks[i] === 1);
        const hue = leak ? colours.leak : weight < 0 ? colours.negative : colours.weight;
        const strength = leak ? 1 : share(weight, top, scale) * quiet;
        for (let c = 0; c < 3; c++) {
          pixels[at + c] = colours.paper[c] + (hue[c] - colours.paper[c]) * strength;
        }
        pixels[at + 3] = 255;
      }
    }
    return image;
  }

  /** Signs for what a colour says: "−" in a negative cell, "!" in a leak; small leaks are grown.
   * @param {CanvasRenderingContext2D} context @param {import("./data.js").Level} level
   * @param {number[]} rows @param {number[]} columns
   * @param {number} x @param {number} y @param {number} each */
  signs(context, level, rows, columns, x, y, each) {
    const written = each >= 12;
    if (!written && !this.triangle.said.ahead) return;
    context.font = `${Math.min(16, each)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = rows[0]; i < rows[1]; i++) {
      for (let j = written ? columns[0] : Math.max(i, columns[0]); j < columns[1]; j++) {
        const weight = level.get(i, j);
        const leak = weight !== 0 && (j > i || (i === j && level.leaks[i] === 1));
        if (!leak && !(written && weight < 0)) continue;
        const [cx, cy] = [x + (j - columns[0] + 0.5) * each, y + (i - rows[0] + 0.5) * each];
        context.fillStyle = css(leak && !written ? this.colours.leak : this.colours.ink);
        if (written) context.fillText(leak ? "!" : "−", cx, cy);
        else if (each < SMALLEST) context.fillRect(cx - SMALLEST / 2, cy - SMALLEST / 2, SMALLEST, SMALLEST);
      }
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  axes(context) {
    const { left, above, side, each, data } = this;
    const [t0, s0, span] = this.state.now.zoom;
    const letters = each >= LETTERS && data.here.named && data.about.ratio === 1;
    const step = letters ? 1 : tick(span, side);
    context.fillStyle = css(this.colours.ink);
    context.strokeStyle = css(this.colours.ink);
    context.font = "12px ui-monospace, monospace";
    const label = (/** @type {number} */ cell) =>
      letters ? data.here.tokens[cell].slice(0, 6) : `${cell * data.about.ratio}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = Math.ceil(t0 / step) * step; i < t0 + span; i += step) {
      context.fillText(label(i), left - 5, above + (i - t0 + 0.5) * each, left - 18);
    }
    context.textAlign = "center";
    context.textBaseline = "bottom";
    for (let j = Math.ceil(s0 / step) * step; j < s0 + span; j += step) {
      context.fillText(label(j), left + (j - s0 + 0.5) * each, above - 3, letters ? each : 60);
    }
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText("position read →", left, above - 21);
    context.save();
    context.translate(12, above);
    context.rotate(-Math.PI / 2);
    context.textAlign = "right";
    context.fillText("← position that reads", 0, 0);
    context.restore();
    context.strokeRect(left - 0.5, above - 0.5, side + 1, side + 1);
  }

  /** The chosen row and column, drawn above the cells: all that a hover redraws. */
  mark() {
    const { left, above, side, each, colours } = this;
    const { t, s, locked, zoom } = this.state.now;
    const context = /** @type {CanvasRenderingContext2D} */ (this.marks.getContext("2d"));
    const ratio = this.marks.width / (side + left + RIGHT);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    context.save();
    context.beginPath();
    context.rect(left - 1, above - 1, side + 2, side + 2);
    context.clip();
    const thick = each < 6 ? 0 : each; // a line through small cells, a frame around large ones
    const y = above + (t - zoom[0] + 0.5) * each - thick / 2;
    const x = left + (s - zoom[1] + 0.5) * each - thick / 2;
    context.strokeStyle = css(colours.accent);
    context.lineWidth = locked ? 2 : 1;
    context.strokeRect(left, y, side, thick);
    context.setLineDash([4, 3]);
    context.strokeRect(x, above, thick, side);
    context.restore();
  }

  /** The cell under a pointer. @param {PointerEvent | MouseEvent} event */
  under(event) {
    const box = this.marks.getBoundingClientRect();
    const [t0, s0] = this.state.now.zoom;
    const t = t0 + Math.floor((event.clientY - box.top - this.above) / this.each);
    const s = s0 + Math.floor((event.clientX - box.left - this.left) / this.each);
    const inside = t >= t0 && s >= s0 && t < t0 + this.state.now.zoom[2] && s < s0 + this.state.now.zoom[2];
    return inside ? { t, s } : null;
  }

  listen() {
    const { marks, state } = this;
    marks.addEventListener("pointermove", (event) => {
      if (this.drag && event.buttons) return this.pan(event);
      const cell = this.under(event);
      if (cell && !state.now.locked) state.set(cell);
    });
    marks.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.clientX, y: event.clientY, zoom: [...state.now.zoom], far: false };
    });
    marks.addEventListener("click", (event) => {
      const dragged = this.drag?.far;
      this.drag = null;
      const cell = this.under(event);
      if (dragged || !cell) return;
      const same = state.now.locked && cell.t === state.now.t && cell.s === state.now.s;
      state.set({ ...cell, locked: !same });
    });
    marks.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== marks) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.under(event));
    }, { passive: false });
    marks.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {PointerEvent} event */
  pan(event) {
    if (!this.drag) return;
    const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
    if (Math.hypot(dx, dy) > 4 && !this.drag.far) {
      this.drag.far = true;
      this.marks.setPointerCapture(event.pointerId);
    }
    const [t0, s0, span] = this.drag.zoom;
    if (this.drag.far) {
      this.state.set({ zoom: [t0 - Math.round(dy / this.each), s0 - Math.round(dx / this.each), span] });
    }
  }

  /** @param {number} by @param {{t: number, s: number} | null} [at] stays where it is */
  zoom(by, at) {
    const { t, s, zoom } = this.state.now;
    const [t0, s0, span] = zoom;
    const fixed = at ?? { t, s };
    const wanted = Math.max(8, Math.min(this.state.size, Math.round(span * by)));
    const shift = (/** @type {number} */ place, /** @type {number} */ from) =>
      Math.round(place - ((place - from) * wanted) / span);
    this.state.set({ zoom: [shift(fixed.t, t0), shift(fixed.s, s0), wanted] });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { t, s, locked } = this.state.now;
    const far = event.shiftKey ? 10 : 1;
    /** @type {Record<string, [number, number]>} */
    const moves = {
      ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far],
      PageUp: [-16, 0], PageDown: [16, 0], Home: [0, -this.state.size], End: [0, this.state.size],
    };
    const move = moves[event.key];
    if (move) {
      const last = this.state.size - 1;
      const to = [Math.max(0, Math.min(last, t + move[0])), Math.max(0, Math.min(last, s + move[1]))];
      this.state.set({ t: to[0], s: to[1], locked: true, zoom: this.following(to[0], to[1]) });
    } else if (event.key === "Enter") this.state.set({ locked: !locked });
    else if (event.key === "Escape") this.state.set({ locked: false });
    else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0") this.state.set({ zoom: [0, 0, this.state.size] });
    else return;
    event.preventDefault();
  }

  /** The window moved so that a cell is in it. @param {number} t @param {number} s
   * @returns {[number, number, number]} */
  following(t, s) {
    const [t0, s0, span] = this.state.now.zoom;
    const follow = (/** @type {number} */ place, /** @type {number} */ from) =>
      Math.max(Math.min(from, place), place - span + 1);
    return [follow(t, t0), follow(s, s0), span];
  }
}

/** How many cells from one tick to the next. @param {number} span @param {number} side */
function tick(span, side) {
  const least = (span / side) * 52;
  return [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step >= least) ?? 2000;
}
