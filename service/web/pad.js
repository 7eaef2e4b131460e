// The drawing area: a white pen on black, with undo and pen width.

import { $ } from "./dom.js";
import { SIDE, centred, toFile } from "./glyph.js";

export const DRAWING = "drawing.png";
const strokes = []; // {width, points: [[x, y]]}
const context = $("pad").getContext("2d", { willReadFrequently: true });

function paint() {
  Object.assign(context, { fillStyle: "#000", strokeStyle: "#fff", lineCap: "round", lineJoin: "round" });
  context.fillRect(0, 0, SIDE, SIDE);
  for (const { width, points } of strokes) {
    context.lineWidth = width;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.lineTo(...points.at(-1)); // a click alone is a dot
    context.stroke();
  }
}

function place(event) {
  const scale = SIDE / $("pad").clientWidth;
  return [event.offsetX * scale, event.offsetY * scale];
}

function begin(event) {
  event.target.setPointerCapture(event.pointerId);
  strokes.push({ width: $("pen").valueAsNumber, points: [place(event)] });
  paint();
}

function go(event) {
  if (!event.target.hasPointerCapture(event.pointerId)) return;
  strokes.at(-1).points.push(place(event));
  paint();
}

const drawn = async () => (strokes.length ? toFile(centred($("pad")), DRAWING) : null);

// Call `changed` with a file after every stroke and undo, and with null once nothing is drawn.
export function install(changed) {
  let turn = 0;
  const tell = async () => {
    const mine = ++turn;
    const file = await drawn();
    if (mine === turn) changed(file); // else the pad was cleared or drawn on meanwhile
  };
  paint();
  $("pad").addEventListener("pointerdown", begin);
  $("pad").addEventListener("pointermove", go);
  $("pad").addEventListener("pointerup", tell);
  $("undo").addEventListener("click", () => { strokes.pop(); paint(); tell(); });
  $("clear").addEventListener("click", () => { strokes.length = 0; paint(); tell(); });
}
