// Short ways to find and make elements.

export const $ = (id) => document.getElementById(id);

// h("p", { class: "hint", onclick: f }, "text", child): an element with attributes, listeners and children.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The same in an SVG.
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  element.append(...children);
  return element;
}

export const picture = (base64) => `data:image/png;base64,${base64}`;

export async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// The pixels of an image, RGBA, at its own size.
export function pixelsOf(image) {
  const context = h("canvas", { width: image.naturalWidth, height: image.naturalHeight }).getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.naturalWidth, image.naturalHeight);
}

export function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
}
