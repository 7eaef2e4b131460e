// The page at /. It uses the same routes as every other client.

const $ = (id) => document.getElementById(id);
const PEN = 24; // pixels of 280, which is the stroke of an MNIST digit: 2 to 3 pixels of 28
const DRAWING = "drawing.png";
const shown = []; // {result, item}, judged again when alpha changes
let models = [];
let key = sessionStorage.getItem("key"); // asked for if the service has keys; forgotten with the tab

// --- asking ---

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401 && (key = prompt("This service asks for a key:"))) {
    sessionStorage.setItem("key", key);
    return ask(path, options);
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The service answered ${answer.status}.`);
  return answer;
}

async function attempt(work) {
  $("problem").hidden = true;
  try {
    await work();
  } catch (error) {
    $("problem").textContent = error instanceof TypeError ? "The service does not answer; is it still running?" : error.message;
    $("problem").hidden = false;
  }
}

function form(files, invert) {
  const data = new FormData();
  for (const file of files) data.append("images", file);
  data.append("model", $("detector").value);
  data.append("invert", invert);
  return { method: "POST", body: data, headers: { accept: "application/json" } };
}

async function score(files, invert) {
  if (!files.length) return;
  const answers = await Promise.all(["score", "explain"].map((path) => ask(path, form(files, invert))));
  const [scores, pictures] = await Promise.all(answers.map((answer) => answer.json()));
  scores.results.forEach((result, index) => {
    const row = { ...result, ...pictures.results[index], model: scores.model };
    (row.error === undefined ? show : showError)(row);
  });
}

// --- results ---

const alpha = () => 10 ** $("alpha").valueAsNumber;
const percent = (share) => `${(100 * share).toPrecision(2).replace(/\.0$/, "")} %`;

// The model of a result; for a group, the member of the closest class.
function modelOf({ model: name, closest }) {
  const model = models.find((known) => known.name === name);
  return closest === undefined ? model : models.find((known) => known.name === model.members[model.normal_classes.indexOf(closest)]);
}

// p = (1 + count) / (size + 1), so the count can be computed exactly.
function sentence(result) {
  const size = modelOf(result).calibration_size;
  const count = Math.round(result.p_value * (size + 1)) - 1;
  const [begin, none] = result.closest === undefined ? ["", "None"] : [`Closest to ${result.closest}: `, "none"];
  const [subject, verb] = [count ? count.toLocaleString("en") : none, count > 1 ? "look" : "looks"];
  return `${begin}${subject} of ${size.toLocaleString("en")} normal images ${verb} ${count ? "at least " : ""}this odd.`;
}

function judge({ result, item }) {
  const odd = result.p_value <= alpha();
  const size = models.find(({ name }) => name === result.model).calibration_size;
  const possible = alpha() * (size + 1) >= 1 - 1e-9; // else no p-value is as low as alpha, whatever the image
  const lowest = Math.log10(modelOf(result).calibration_size + 1);
  const place = (p) => `${100 * Math.min(1, -Math.log10(p) / lowest)}%`;
  item.classList.toggle("odd", odd);
  item.classList.toggle("undecided", !possible);
  item.querySelector(".word").textContent = odd ? "Odd" : possible ? "Normal" : "No alarm possible";
  item.querySelector(".note").hidden = possible;
  item.querySelector(".note").textContent = `At ${percent(alpha())} no image can be odd: that takes ${Math.ceil(1 / alpha() - 1e-6) - 1} normal images to compare with, and there are ${size}.`;
  item.querySelector(".mark").style.left = place(result.p_value);
  item.querySelector(".limit").style.left = place(alpha());
}

function show(result) {
  const item = $("result").content.cloneNode(true).firstElementChild;
  for (const image of item.querySelectorAll("img")) {
    const png = result[image.dataset.show];
    if (png === undefined) image.closest("figure").remove(); // a detector without an autoencoder makes no reconstruction
    else image.src = `data:image/png;base64,${png}`;
  }
  item.querySelector(".name").textContent = `${result.id} · ${result.model}`;
  item.querySelector(".sentence").textContent = sentence(result);
  for (const [name, value] of Object.entries(result).filter(([, value]) => typeof value === "number")) {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: name }));
    pair.append(Object.assign(document.createElement("dd"), { textContent: value.toPrecision(3) }));
    item.querySelector("dl").append(pair);
  }
  if (result.id === DRAWING) forget(DRAWING);
  shown.unshift({ result, item });
  $("results").prepend(item);
  $("nothing").hidden = true;
  judge(shown[0]);
}

function showError({ id, error }) {
  const item = $("result").content.cloneNode(true).firstElementChild;
  item.classList.add("unread");
  for (const part of item.querySelectorAll(".pictures, .scale, dl")) part.remove();
  for (const [place, text] of [[".name", id], [".word", "Not read"], [".sentence", error]]) item.querySelector(place).textContent = text;
  $("results").prepend(item);
  $("nothing").hidden = true;
}

function forget(id) {
  const index = shown.findIndex(({ result }) => result.id === id);
  if (index >= 0) shown.splice(index, 1)[0].item.remove();
}

// --- drawing ---

const pad = $("pad").getContext("2d", { willReadFrequently: true });
Object.assign(pad, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });

function clearPad() {
  pad.fillStyle = "#000";
  pad.fillRect(0, 0, 280, 280);
}

function draw(event) {
  const scale = 280 / $("pad").clientWidth;
  pad.lineTo(event.offsetX * scale, event.offsetY * scale);
  pad.stroke();
}

// As in MNIST, the glyph fits a box of 20 of 28 pixels, and its centre of mass is in the middle.
function centred() {
  const { data } = pad.getImageData(0, 0, 280, 280);
  let [mass, sumX, sumY, left, top, right, bottom] = [0, 0, 0, 280, 280, -1, -1];
  for (let index = 0; index < 280 * 280; index++) {
    const value = data[4 * index];
    if (!value) continue;
    const [x, y] = [index % 280, Math.floor(index / 280)];
    [mass, sumX, sumY] = [mass + value, sumX + value * x, sumY + value * y];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
  }
  if (!mass) return null;
  const scale = 200 / Math.max(right - left + 1, bottom - top + 1);
  const canvas = Object.assign(document.createElement("canvas"), { width: 280, height: 280 });
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, 280, 280);
  context.setTransform(scale, 0, 0, scale, 140 - (scale * sumX) / mass, 140 - (scale * sumY) / mass);
  context.drawImage($("pad"), left, top, right - left + 1, bottom - top + 1, left, top, right - left + 1, bottom - top + 1);
  return canvas;
}

function scoreDrawing() {
  centred()?.toBlob((blob) => attempt(() => score([new File([blob], DRAWING)], false)), "image/png");
}

// --- generating ---

async function generate(event) {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData($("sampling")));
  const walk = event.submitter?.value === "walk";
  const wanted = walk ? { start: fields.seed, end: fields.end, steps: 10 } : { n: fields.n, seed: fields.seed };
  const query = new URLSearchParams({ model: fields.model, ...(fields.class && { class: fields.class }), ...wanted });
  const path = `${walk ? "sample/walk" : "sample"}?${query}`;
  const picture = new Image();
  picture.src = URL.createObjectURL(await (await ask(path)).blob());
  await picture.decode();
  picture.width = picture.naturalWidth * 2;
  picture.alt = walk ? `Walk from seed ${fields.seed} to ${fields.end}` : `${fields.n} images, seed ${fields.seed}`;
  const link = Object.assign(document.createElement("a"), { href: path, textContent: `GET /${path}` });
  const caption = document.createElement("figcaption");
  caption.append(link);
  $("generated").replaceChildren(picture, caption);
}

function describe(select, about, kind) {
  const model = models.find(({ name }) => name === select.value);
  const normal = model.normal_classes.join(", ");
  const detector = `Takes ${normal} for normal. Calibrated on ${model.calibration_size} images.`;
  about.textContent = kind === "generator" || model.members.length ? model.summary : detector;
  if (kind === "generator") {
    $("class").replaceChildren(new Option("mixed", ""), ...model.class_names.map((name) => new Option(name, name)));
    $("class").disabled = !model.class_names.length;
  }
}

// --- start ---

function listModels(kind, section, select, about) {
  const known = models.filter((model) => model.kind === kind);
  select.append(...known.map(({ name, is_default: first }) => new Option(name, name, first, first)));
  select.addEventListener("change", () => describe(select, about, kind));
  section.hidden = !known.length;
  if (known.length) describe(select, about, kind);
}

function setAlpha() {
  $("alpha-text").textContent = percent(alpha());
  shown.forEach(judge);
}

const upload = (files) => attempt(() => score([...files], $("invert").checked));

clearPad();
$("alpha").valueAsNumber = Math.log10(0.05);
setAlpha();
$("alpha").addEventListener("input", setAlpha);
$("clear").addEventListener("click", () => { clearPad(); forget(DRAWING); });
$("pad").addEventListener("pointerdown", (event) => { event.target.setPointerCapture(event.pointerId); pad.beginPath(); draw(event); });
$("pad").addEventListener("pointermove", (event) => { if (event.target.hasPointerCapture(event.pointerId)) draw(event); });
$("pad").addEventListener("pointerup", scoreDrawing);
$("files").addEventListener("change", async (event) => { await upload(event.target.files); event.target.value = ""; });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) upload(event.clipboardData.files); });
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  upload(event.dataTransfer.files);
});
$("sampling").addEventListener("submit", (event) => attempt(() => generate(event)));
$("dice").addEventListener("click", () => {
  for (const field of ["seed", "end"]) $("sampling").elements[field].value = crypto.getRandomValues(new Uint32Array(1))[0] % 1e6;
});
attempt(async () => {
  models = (await (await ask("models")).json()).models;
  listModels("detector", $("detect"), $("detector"), $("detector-about"));
  listModels("generator", $("generate"), $("generator"), $("generator-about"));
});
