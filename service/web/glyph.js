// Crops and centres a glyph as MNIST does, and sees whether it is dark on light.

import { h } from "./dom.js";

export const SIDE = 280;
const BOX = 200; // of SIDE, as MNIST's glyphs fit 20 of 28 pixels
const MOST = 560; // pixels a side that a photo is read at
const FAINT = 0.25; // of the contrast: less is ground

// A canvas of at most MOST pixels a side with the image in `file`.
export async function read(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MOST / Math.max(bitmap.width, bitmap.height));
  const canvas = h("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

// The ground, which is the middle value of the border, in 0 to 255.
export function groundOf(canvas) {
  const { grey, width, height } = greyOf(canvas);
  const border = grey.filter((_, index) => index < width || index >= width * (height - 1) || index % width === 0 || index % width === width - 1);
  return border.sort()[Math.floor(border.length / 2)];
}

// What a person should be told of an image: whether it looks dark on light, and whether its glyph is not centred as in MNIST.
export function looks(canvas) {
  const found = glyphIn(canvas);
  if (!found) return { dark: false, loose: false };
  const fill = Math.max(found.box.width / canvas.width, found.box.height / canvas.height);
  return { dark: groundOf(canvas) > 127, loose: Math.max(canvas.width, canvas.height) > 64 && fill < 0.5 };
}

// A white glyph on black, SIDE x SIDE, in a box of BOX around its centre of mass; null for an empty image.
export function centred(canvas) {
  const found = glyphIn(canvas);
  if (!found) return null;
  const { box, ink, mass, x, y } = found;
  const scale = BOX / Math.max(box.width, box.height);
  const made = h("canvas", { width: SIDE, height: SIDE });
  const context = made.getContext("2d");
  context.fillRect(0, 0, SIDE, SIDE);
  context.setTransform(scale, 0, 0, scale, SIDE / 2 - (scale * x) / mass, SIDE / 2 - (scale * y) / mass);
  context.drawImage(ink, box.left, box.top, box.width, box.height, box.left, box.top, box.width, box.height);
  return made;
}

export const toFile = (canvas, name) =>
  new Promise((resolve) => canvas.toBlob((blob) => resolve(new File([blob], name, { type: "image/png" })), "image/png"));

function greyOf(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const grey = new Uint8ClampedArray(width * height);
  for (let index = 0; index < grey.length; index++) grey[index] = 0.299 * data[4 * index] + 0.587 * data[4 * index + 1] + 0.114 * data[4 * index + 2];
  return { grey, width, height };
}

// The glyph: a canvas with its ink as white on black, its box, and the sums for its centre of mass.
function glyphIn(canvas) {
  const { grey, width, height } = greyOf(canvas);
  const ground = groundOf(canvas);
  const most = grey.reduce((top, value) => Math.max(top, Math.abs(value - ground)), 0);
  if (most < 16) return null; // noise of paper and camera
  const ink = h("canvas", { width, height });
  const image = new ImageData(width, height);
  const edges = { left: width, top: height, right: -1, bottom: -1 };
  const sums = { mass: 0, x: 0, y: 0 };
  grey.forEach((value, index) => mark(image.data, index, strength(value, ground, most), width, edges, sums));
  ink.getContext("2d").putImageData(image, 0, 0);
  const { left, top, right, bottom } = edges;
  return { ink, ...sums, box: { left, top, width: right - left + 1, height: bottom - top + 1 } };
}

// Ink in [0, 1] where the value differs from the ground: full at 3/4 of the contrast, none below FAINT.
function strength(value, ground, most) {
  return Math.min(1, Math.max(0, (Math.abs(value - ground) / most - FAINT) / 0.5));
}

function mark(data, index, ink, width, edges, sums) {
  const [x, y] = [index % width, Math.floor(index / width)];
  data.fill(255 * ink, 4 * index, 4 * index + 3);
  data[4 * index + 3] = 255;
  if (!ink) return;
  Object.assign(sums, { mass: sums.mass + ink, x: sums.x + ink * x, y: sums.y + ink * y });
  Object.assign(edges, { left: Math.min(edges.left, x), top: Math.min(edges.top, y), right: Math.max(edges.right, x), bottom: Math.max(edges.bottom, y) });
}
