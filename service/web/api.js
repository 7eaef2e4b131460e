// Asks the service, over the same routes as every other client.

import { $ } from "./dom.js";

const TRIES = 20; // a busy service says when to come back

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export async function ask(path, options = {}, tries = TRIES) {
  const key = sessionStorage.getItem("key");
  const headers = { accept: "application/json", ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401 && (await askForKey())) return ask(path, options, tries);
  if (answer.status === 503 && tries) return (await pause(answer, options.signal), ask(path, options, tries - 1));
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.detail ?? `The service answered ${answer.status}.`);
}

export const json = async (path, options) => (await ask(path, options)).json();
export const blob = async (path, options) => (await ask(path, { headers: { accept: "image/png" }, ...options })).blob();

export function upload(files, fields, signal) {
  const body = new FormData();
  for (const file of files) body.append("images", file);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  return { method: "POST", body, signal };
}

const known = new Map(); // answers that never change while the service runs

export function once(path) {
  if (!known.has(path)) known.set(path, json(path).catch((error) => (known.delete(path), Promise.reject(error))));
  return known.get(path);
}

function pause(answer, signal) {
  const seconds = Number(answer.headers.get("retry-after")) || 1;
  return new Promise((resolve, reject) => {
    setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
  });
}

let asking = null; // one dialog for all requests that wait for a key; false if none is given

function askForKey() {
  asking ??= new Promise((resolve) => {
    $("key").querySelector("input").value = "";
    $("key").showModal();
    $("key").addEventListener("close", () => {
      const { value } = $("key").querySelector("input");
      sessionStorage.setItem("key", value); // forgotten with the tab
      asking = null;
      resolve(value !== "");
    }, { once: true });
  });
  return asking;
}
