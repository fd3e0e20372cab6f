// What is chosen. Every view reads it, and the hash of the address keeps it.

/**
 * @typedef {{view: string, k: number, t: number, s: number, locked: boolean, scale: string,
 *   own: boolean, zoom: [number, number, number], step: number, pair: string, exhibit: string}} Chosen
 */

export class State {
  /** @param {Chosen} start @param {number} size of the side in cells @param {number} count */
  constructor(start, size, count) {
    this.size = size;
    this.count = count;
    this.start = start;
    /** @type {Chosen} */
    this.now = { ...start };
    /** @type {((now: Chosen, before: Chosen) => void)[]} */
    this.watchers = [];
    this.read();
    addEventListener("hashchange", () => {
      const before = { ...this.now };
      this.read();
      this.tell(before);
    });
  }

  /** @param {(now: Chosen, before: Chosen) => void} watcher */
  watch(watcher) {
    this.watchers.push(watcher);
  }

  /** @param {Partial<Chosen>} change */
  set(change) {
    const before = { ...this.now };
    this.now = this.valid({ ...this.now, ...change });
    this.tell(before);
    if (this.now.locked || before.locked || change.k !== undefined || change.view || change.scale
      || change.step !== undefined || change.pair || change.exhibit) {
      this.write();
    }
  }

  /** @param {Chosen} before */
  tell(before) {
    for (const watcher of this.watchers) watcher(this.now, before);
  }

  /** @param {Chosen} chosen @returns {Chosen} */
  valid(chosen) {
    const whole = (/** @type {number} */ n, /** @type {number} */ most) =>
      Math.max(0, Math.min(most, Math.floor(Number.isFinite(n) ? n : 0)));
    const span = Math.max(Math.min(8, this.size), whole(chosen.zoom[2], this.size));
    return {
      ...chosen,
      k: whole(chosen.k, this.count - 1),
      t: whole(chosen.t, this.size - 1),
      s: whole(chosen.s, this.size - 1),
      zoom: [whole(chosen.zoom[0], this.size - span), whole(chosen.zoom[1], this.size - span), span],
    };
  }

  read() {
    const said = new URLSearchParams(location.hash.slice(1));
    const number = (/** @type {string} */ name, /** @type {number} */ other) =>
      said.has(name) ? Number(said.get(name)) : other;
    const { start } = this;
    const flag = (/** @type {string} */ name, /** @type {boolean} */ other) =>
      said.size ? said.get(name) === "1" : other;
    const zoom = (said.get("zoom") ?? "").split(",").map(Number);
    this.now = this.valid({
      view: said.get("view") ?? start.view,
      k: number("show", start.k),
      t: number("row", start.t),
      s: number("column", start.s),
      locked: flag("locked", start.locked),
      scale: said.get("scale") === "linear" ? "linear" : "log",
      own: flag("own", start.own),
      zoom: zoom.length === 3 ? [zoom[0], zoom[1], zoom[2]] : start.zoom,
      step: number("step", said.size ? -1 : start.step),
      pair: said.get("pair") ?? start.pair,
      exhibit: said.get("exhibit") ?? start.exhibit,
    });
  }

  write() {
    const { now } = this;
    const said = new URLSearchParams({ view: now.view, show: `${now.k}`, row: `${now.t}`, column: `${now.s}` });
    if (now.locked) said.set("locked", "1");
    if (now.scale !== "log") said.set("scale", now.scale);
    if (now.own) said.set("own", "1");
    if (now.step >= 0) said.set("step", `${now.step}`);
    if (now.pair) said.set("pair", now.pair);
    if (now.exhibit) said.set("exhibit", now.exhibit);
    if (now.zoom[2] !== this.size) said.set("zoom", now.zoom.join(","));
    try {
      history.replaceState(null, "", `#${said}`);
    } catch {
      // A frame without an origin keeps no address; all else works.
    }
  }
}
