// The heat map, laid over the image. Its colours say how odd the image is; its shape says where.

import { decoded, h, picture, pixelsOf } from "./dom.js";

const REDDEST = 0.01; // the p-value at which the hottest place is full red: odder than 99 % of normal images

// How strong the hottest place is, in [0, 1]: 0 for p = 1, 1 for p <= REDDEST.
export const strengthOf = (p) => Math.min(1, Math.log(p) / Math.log(REDDEST));

// From nothing over yellow and orange to red; `heat` in [0, 1].
export function colour(heat) {
  const [green, opaque] = [Math.round(205 * (1 - heat)), Math.min(1, 1.4 * heat)];
  return [230, green, 20, Math.round(255 * opaque)];
}

// A canvas of the size of the heat map. The service colours heat h as red 3h, green 3h - 1, blue 3h - 2, so h is their mean.
export async function overlay(png, p) {
  const image = pixelsOf(await decoded(picture(png)));
  const heat = new Float32Array(image.width * image.height);
  for (let index = 0; index < heat.length; index++) heat[index] = image.data[4 * index] + image.data[4 * index + 1] + image.data[4 * index + 2];
  const most = heat.reduce((top, value) => Math.max(top, value), 1);
  heat.forEach((value, index) => image.data.set(colour(value / most * strengthOf(p)), 4 * index));
  const canvas = h("canvas", { width: image.width, height: image.height, class: "heat", "aria-hidden": "true" });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export function colourBar() {
  const canvas = h("canvas", { width: 100, height: 1, "aria-hidden": "true" });
  const image = new ImageData(100, 1);
  for (let index = 0; index < 100; index++) image.data.set(colour(index / 99), 4 * index);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return h("div", { class: "colour-bar" }, h("span", {}, "usual"), canvas, h("span", {}, "odder than 99 % of normal images"));
}
