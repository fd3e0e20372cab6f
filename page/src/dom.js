// Elements, made without a framework. Text is always set as text, so no token becomes markup.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | EventListener | boolean>} [attributes] `on...` are listeners
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** @param {string} name @param {Blob} blob */
export function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A canvas as a file. @param {HTMLCanvasElement} canvas @param {string} name */
export function save(canvas, name) {
  canvas.toBlob((blob) => {
    if (blob) download(name, blob);
  });
}

/** A button that puts a text on the clipboard, and selects it where that is forbidden.
 * @param {string} label @param {() => string} text */
export function copier(label, text) {
  const area = make("textarea", { readonly: true, hidden: true, rows: "3", "aria-label": label });
  const button = make("button", { type: "button", class: "plain", onclick: show }, label);
  function show() {
    area.value = text();
    area.hidden = false;
    area.select();
    const done = () => {
      button.textContent = `${label}: copied`;
      setTimeout(() => (button.textContent = label), 2000);
    };
    if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(done, () => {});
  }
  return make("div", { class: "copier" }, button, area);
}
