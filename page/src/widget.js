// The page as a widget of a notebook: its frame and the model tell each other what is chosen.

const NAMES = ["row", "column", "shown"];

/** @typedef {{get(name: string): any, set(name: string, value: any): void, save_changes(): void,
 *   on(event: string, call: () => void): void, off(event: string, call: () => void): void}} Model */

/** @param {{model: Model, el: HTMLElement}} given */
function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  frame.title = "trilby.explore";
  frame.style.cssText = `width: 100%; height: ${model.get("height")}px; border: 0`;
  frame.srcdoc = model.get("page");
  const choose = () => {
    const told = Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
    frame.contentWindow?.postMessage({ trilby: told }, "*"); // it has no origin to be named
  };
  const hear = (/** @type {MessageEvent} */ event) => {
    const told = event.source === frame.contentWindow ? event.data?.trilby : null;
    if (told === "ready") choose();
    if (!told?.shown) return;
    for (const name of NAMES) model.set(name, told[name]);
    model.save_changes();
  };
  addEventListener("message", hear);
  for (const name of NAMES) model.on(`change:${name}`, choose);
  el.append(frame);
  return () => {
    removeEventListener("message", hear);
    for (const name of NAMES) model.off(`change:${name}`, choose);
  };
}

export default { render };
