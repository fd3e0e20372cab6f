// What the page holds: texts as JSON, numbers as deflated bytes that are unpacked once.

/**
 * @typedef {[number, number]} Span first and length in the row of float64 numbers
 * @typedef {{layer: number, kind: string, unit: string, number: number, of: number}} HeadSaid
 * @typedef {{name: string, subject: number, size: number, full: boolean, measured: boolean, own: Where | null,
 *   fact: string, ahead: number, head: HeadSaid | null, diagonal: number[], sums: Span, lengths: Span,
 *   output: Span | null, explained: Span | null}} TriangleSaid
 * @typedef {{tokens: string[], named: boolean, values: Span | null}} Where
 * @typedef {{name: string, errors: Record<string, Record<string, number | null>>, code: string,
 *   cost: string, outputs: Span, apart: Span, narrow: Span | null, channels: number}} FormSaid
 * @typedef {{name: string, counts: number[], numbers: Span}} HeldSaid
 * @typedef {{subject: string, name: string, group: string, sentence: string, position: number,
 *   reads: number | null,   size: number, cells: number, reproducer: string}} LeakSaid
 * @typedef {{name: string, tried: string, linear: boolean | null, early: number | null, forms: FormSaid[],
 *   holds: HeldSaid[], leaks: LeakSaid[], growth: GrowthSaid | null}} SubjectSaid
 * @typedef {{name: string, seconds: Record<string, Span>, medians: Record<string, number>,
 *   bytes: Record<string, number | null>, slope: number | null, ended: string}} TimedSaid
 * @typedef {{shape: string, machine: string, sizes: number[], said: string[], refused: string[],
 *   forms: TimedSaid[]}} GrowthSaid
 * @typedef {{name: string, group: string, cause: string, story: string, source: string[],
 *   square: Span, gradient: boolean}} Exhibit
 * @typedef {{title: string, text: string, shows: number, view: string, row: number, column: number,
 *   scale: string}} Step
 * @typedef {{text: string, mark: string, view: string}} Clause
 * @typedef {{T: number, ratio: number, bits: number, digits: number, precision: string,
 *   more: boolean, tokens: string[], named: boolean, values: Span | null, python: string, t: number,
 *   groups: Record<string, string>, gallery: Exhibit[], steps: Step[], clauses: Clause[], triangles: TriangleSaid[], subjects: SubjectSaid[]}} About
 * @typedef {{n: number, get: (i: number, j: number) => number, leaks: Uint8Array}} Level
 */

/** @param {string} id */
function text(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id)).textContent ?? "";
}

/** @param {string} packed base64 of deflate @returns {Promise<Uint8Array>} */
async function bytes(packed) {
  const decoded = atob(packed);
  const raw = new Uint8Array(decoded.length);
  for (let i = 0; i < raw.length; i++) raw[i] = decoded.charCodeAt(i);
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @param {Uint8Array} planes the four bytes of each float32, plane by plane */
function floats(planes) {
  const n = planes.length / 4;
  const whole = new Uint8Array(planes.length);
  for (let plane = 0; plane < 4; plane++) {
    const start = plane * n;
    for (let i = 0; i < n; i++) whole[4 * i + plane] = planes[start + i];
  }
  return new Float32Array(whole.buffer);
}

/** One triangle, and coarser copies of it in which a cell has the largest weight of four. */
export class Triangle {
  /** @param {TriangleSaid} said @param {Float32Array} values */
  constructor(said, values) {
    this.said = said;
    this.values = values;
    const { size, full } = said;
    const leaks = new Uint8Array(size);
    for (const i of said.diagonal) leaks[i] = 1;
    /** @type {Level[]} */
    this.levels = [
      {
        n: size,
        leaks,
        get: full
          ? (i, j) => values[i * size + j]
          : (i, j) => (j > i ? 0 : values[(i * (i + 1)) / 2 + j]),
      },
    ];
    let top = 0;
    for (let i = 0; i < values.length; i++) top = Math.max(top, Math.abs(values[i]));
    this.top = top;
  }

  /** @param {number} k each cell stands for 2^k by 2^k @returns {Level} */
  level(k) {
    while (this.levels.length <= k) this.levels.push(coarser(this.levels[this.levels.length - 1]));
    return this.levels[k];
  }

  /** @param {number} i @param {number} j */
  get(i, j) {
    return this.levels[0].get(i, j);
  }

  /** Whether a cell holds a weight of the future. @param {number} i @param {number} j */
  leaks(i, j) {
    return (j > i && this.get(i, j) !== 0) || (i === j && this.levels[0].leaks[i] === 1);
  }
}

/** @param {Level} fine @returns {Level} */
function coarser(fine) {
  const n = Math.ceil(fine.n / 2);
  const values = new Float32Array(n * n);
  const leaks = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let best = 0;
      let ahead = false;
      for (let a = 2 * i; a < Math.min(2 * i + 2, fine.n); a++) {
        for (let b = 2 * j; b < Math.min(2 * j + 2, fine.n); b++) {
          const value = fine.get(a, b);
          // On the diagonal a weight of the future goes before a larger one of the past.
          const leak = i === j && value !== 0 && (b > a || (a === b && fine.leaks[a] === 1));
          if (leak === ahead ? Math.abs(value) > Math.abs(best) : leak) best = value;
          ahead ||= leak;
        }
      }
      values[i * n + j] = best;
      if (ahead) leaks[i] = 1;
    }
  }
  return { n, leaks, get: (i, j) => values[i * n + j] };
}

/** Everything that the page was given. */
export class Data {
  /** @param {About} about @param {Float64Array} numbers @param {Triangle[]} triangles */
  constructor(about, numbers, triangles) {
    this.about = about;
    this.numbers = numbers;
    this.triangles = triangles;
    this.top = Math.max(...triangles.map((one) => one.top));
    /** How many cells a side has; fewer than T where cells are pooled. */
    this.size = triangles[0].said.size;
    /** The triangle that is chosen, whose positions have the tokens that are shown. */
    this.k = 0;
  }

  /** What stands at each position. @returns {Where} */
  get here() {
    return this.triangles[this.k].said.own ?? this.about;
  }

  /** @param {Span | null} span @param {number} i @returns {number | null} */
  number(span, i) {
    return span && i < span[1] ? this.numbers[span[0] + i] : null;
  }

  /** The cell of a position. @param {number} t */
  cell(t) {
    return Math.floor(t / this.about.ratio);
  }

  /** The positions of a cell: "7", or "8 to 11" where it stands for several. @param {number} i */
  positions(i) {
    const { ratio, T } = this.about;
    const first = i * ratio;
    const last = Math.min(first + ratio, T) - 1;
    return first === last ? `${first}` : `${first} to ${last}`;
  }

  /** A position with its token. @param {number} t */
  place(t) {
    return this.here.named ? `${t} ‘${this.here.tokens[t]}’` : `${t}`;
  }

  /** A cell with its tokens. @param {number} i */
  cellPlace(i) {
    return this.about.ratio === 1 ? this.place(i) : this.positions(i);
  }

  /** A weight with the digits that are kept of it. @param {number} weight */
  shown(weight) {
    const size = Math.abs(weight);
    if (size !== 0 && size <= 1.1754943508222875e-38) return weight < 0 ? "above −1.2e−38" : "below 1.2e−38";
    return digits(weight, this.about.digits);
  }
}

/** @param {number} value @param {number} count of significant digits */
export function digits(value, count) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const plain = size >= 1e-4 && size < 1e6 ? value.toPrecision(count) : value.toExponential(count - 1);
  return plain.includes("e+") && size < 1e6 ? String(Number(plain)) : plain.replaceAll("-", "−");
}

/** @returns {Promise<Data>} */
export async function load() {
  /** @type {About} */
  const about = JSON.parse(text("about"));
  const [numbers, ...weights] = await Promise.all(
    [text("numbers"), ...about.triangles.map((_, i) => text(`weights-${i}`))].map(bytes),
  );
  const triangles = about.triangles.map((said, i) => new Triangle(said, floats(weights[i])));
  return new Data(about, new Float64Array(numbers.buffer), triangles);
}
