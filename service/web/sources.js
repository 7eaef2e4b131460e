// Where images come from: the drawing, files, paste, drop, the webcam, and examples.

import { once } from "./api.js";
import { $, h, picture } from "./dom.js";
import { read, toFile, centred } from "./glyph.js";
import * as pad from "./pad.js";
import { add, item, remove, rescore } from "./scoring.js";
import { modelNamed, onChange, state } from "./state.js";
import { attempt } from "./toast.js";
import { some } from "./words.js";

const EXAMPLES = 4; // normal ones, and as many of other models

const take = (files) => add([...files].map((file) => item(file)));

let drawing = null;

// The drawing is one image, which every stroke replaces.
function takeDrawing(file) {
  if (drawing) remove([drawing]);
  drawing = file && item(file, true);
  if (drawing) add([drawing]);
}

function installDrop() {
  $("files").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
  document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}

// --- webcam ---

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("The browser allows a webcam only over HTTPS or on this machine.");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(() => {
    throw new Error("The browser gives no picture of a webcam; is one there, and allowed?");
  });
  $("camera").querySelector("video").srcObject = stream;
  $("camera").showModal();
  $("camera").addEventListener("close", () => stream.getTracks().forEach((track) => track.stop()), { once: true });
}

async function takePhoto() {
  const video = $("camera").querySelector("video");
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  $("camera").close();
  const name = `webcam-${new Date().toTimeString().slice(0, 8).replaceAll(":", "")}.png`;
  const glyph = centred(await read(await toFile(canvas, name)));
  if (!glyph) throw new Error("The picture shows nothing; is the camera covered?");
  await add([item(await toFile(glyph, name), true)]);
}

function installCamera() {
  $("webcam").addEventListener("click", () => attempt(openCamera));
  $("camera").querySelector("[value=take]").addEventListener("click", () => attempt(takePhoto));
  $("camera").querySelector("[value=close]").addEventListener("click", () => $("camera").close());
}

// --- examples ---

let offered = null;

// Normal images of the model, and images of other models on the same data, which should be odd.
async function examplesOf(model) {
  const names = model.members.length ? model.members : [model.name];
  const others = state.models.filter((other) => other.members.includes(model.name)).flatMap((group) => group.members).filter((name) => name !== model.name);
  const chosen = model.members.length ? names : [...Array(EXAMPLES).fill(model.name), ...others.slice(-EXAMPLES)];
  const answers = await Promise.all(chosen.map((name) => once(`models/${name}/normal`)));
  return answers.map(({ model: name, images }, index) => ({ name, image: images[name === model.name ? index : 0] })).filter(({ image }) => image);
}

async function renderExamples() {
  const model = modelNamed(state.model);
  if (!model || offered === model || state.items.length) return;
  offered = model;
  const found = await examplesOf(model);
  if (offered !== model) return;
  $("examples").replaceChildren(...found.map(({ name, image }, index) => {
    const alt = `An image of ${modelNamed(name).normal_classes.join(", ")}`;
    return h("button", { type: "button", onclick: () => tryExample(image.png, `${name}-${index + 1}.png`) }, h("img", { src: picture(image.png), alt }));
  }));
}

async function tryExample(png, name) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  await add([item(new File([bytes], name, { type: "image/png" }), true)]);
}

// --- hints ---

// Say that images look dark on light, or that their glyphs are small, and offer the cure.
function renderLooks() {
  const own = state.items.filter((each) => !each.fixed);
  const dark = own.filter((each) => each.looks.dark).length;
  const loose = own.filter((each) => each.looks.loose).length;
  const [say, cure, field] = loose && !state.crop ? [`${some(loose, "image")} with a small or uncentred glyph`, "Crop and centre", "crop"]
    : dark && !state.invert && !state.crop ? [`${some(dark, "image")} that ${dark === 1 ? "looks" : "look"} dark on light`, "Read as dark on light", "invert"] : [];
  $("looks").hidden = !say;
  if (say) $("looks").replaceChildren(`There ${loose === 1 || dark === 1 ? "is" : "are"} ${say}; models expect light glyphs on black that fill the picture. `, h("button", { type: "button", onclick: () => $(field).click() }, cure));
}

export function install() {
  pad.install(takeDrawing);
  installDrop();
  installCamera();
  for (const field of ["invert", "crop"]) {
    $(field).checked = state[field];
    $(field).addEventListener("change", () => { state[field] = $(field).checked; rescore(); });
  }
  onChange(() => attempt(renderExamples));
  onChange(renderLooks);
  onChange(() => { $("nothing").hidden = state.items.length > 0; });
}
