// Sends images in parts and keeps only the newest answer for each image.

import { Refused, json, upload } from "./api.js";
import { attempt } from "./toast.js";
import { centred, looks, read, toFile } from "./glyph.js";
import { changed, state } from "./state.js";

export const PART = 16; // images of a request, so that progress shows
const PART_BYTES = 4 * 2 ** 20;
const MOST_BYTES = 16 * 2 ** 20; // of a request, as service/http/limits.py says; a larger file is not even sent
const OWN_FAULT = [400, 413, 415, 422]; // the service refuses the files, and is well

let tickets = 0;
let controller = null;
let waiting = [];
export const progress = { done: 0, total: 0, running: () => controller !== null };

// An image on the page. A `fixed` one is sent as it is, as light on dark.
export function item(file, fixed = false) {
  return { id: file.name, file, fixed, sent: null, url: null, looks: {}, result: null, error: null, model: null, ticket: 0, explained: null };
}

export function add(items) {
  state.items.unshift(...items);
  state.selected ??= items[0];
  if (items.length) state.selected = items[0];
  return score(items);
}

export function remove(items) {
  for (const each of items) {
    each.ticket = -1; // a late answer finds no image
    if (each.url) URL.revokeObjectURL(each.url);
  }
  const gone = new Set(items);
  waiting = waiting.filter((each) => !gone.has(each));
  state.items = state.items.filter((each) => !gone.has(each));
  if (gone.has(state.selected)) state.selected = state.items[0] ?? null;
  changed();
}

// Score `items` behind those that wait. An answer that is still under way for one of them no longer counts.
export async function score(items) {
  for (const each of items) Object.assign(each, { ticket: ++tickets, explained: null });
  const again = new Set(items);
  waiting = [...waiting.filter((each) => !again.has(each)), ...items];
  progress.total = progress.done + waiting.length;
  changed();
  if (!controller) await work();
}

export function rescore() {
  stop();
  return score([...state.items]);
}

export function stop() {
  controller?.abort();
  controller = null;
  waiting = [];
  progress.done = progress.total = 0;
  changed();
}

async function work() {
  const mine = (controller = new AbortController());
  const well = await attempt(async () => {
    while (waiting.length && controller === mine) await send(await part(), mine.signal);
  });
  if (controller !== mine) return;
  controller = null;
  if (!well) waiting = [];
  progress.done = progress.total = 0;
  changed();
}

// The next images that one request can take: of one kind, few, and not too large.
async function part() {
  const chosen = [];
  let bytes = 0;
  while (waiting.length && chosen.length < PART && invertOf(waiting[0]) === invertOf(chosen[0] ?? waiting[0])) {
    await prepare(waiting[0]);
    bytes += waiting[0].sent.size;
    if (chosen.length && bytes > PART_BYTES) break;
    chosen.push(waiting.shift());
  }
  return chosen;
}

async function send(items, signal) {
  const asked = items.map((each) => each.ticket);
  const fields = { model: state.model, invert: invertOf(items[0]) };
  const results = await scores(items.map((each) => each.sent), fields, signal);
  results.forEach((result, index) => settle(items[index], asked[index], result, fields.model));
}

// The service's results for `files`, in order. If it refuses them together, each is sent alone, so that one spoils no other.
export async function scores(files, fields, signal) {
  try {
    if (files.some((file) => file.size > MOST_BYTES)) throw new Refused(413, "image: expected at most 16 MB, got a larger file; make it smaller");
    return (await json("score", upload(files, fields, signal))).results;
  } catch (error) {
    if (!(error instanceof Refused) || !OWN_FAULT.includes(error.status)) throw error;
    if (files.length === 1) return [{ error: error.message }];
    const results = [];
    for (const file of files) results.push(...(await scores([file], fields, signal)));
    return results;
  }
}

function settle(each, ticket, result, model) {
  if (each.ticket !== ticket) return;
  Object.assign(each, { result: result.error === undefined ? result : null, error: result.error ?? null, model });
  progress.done = Math.min(progress.done + 1, progress.total);
  changed();
}

const invertOf = (each) => !each.fixed && !state.crop && state.invert;

// Make the file that is sent, and what is shown of it. A file that the browser cannot read is for the service to judge.
async function prepare(each) {
  if (each.url) URL.revokeObjectURL(each.url);
  const canvas = each.fixed ? null : await read(each.file).catch(() => null);
  each.looks = canvas ? looks(canvas) : {};
  const glyph = canvas && state.crop ? centred(canvas) : null;
  each.sent = glyph ? await toFile(glyph, each.id) : each.file;
  each.url = URL.createObjectURL(each.sent);
}

// The picture that the model sees, its reconstruction if there is one, and the heat map, once per answer.
export function explain(each) {
  each.explained ??= json("explain", upload([each.sent], { model: each.model, invert: invertOf(each) })).then(({ results }) => results[0]);
  return each.explained;
}
