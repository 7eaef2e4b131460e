// The API as a page, made from /docs.json.

import { once } from "./api.js";
import { $, h } from "./dom.js";
import { onTab } from "./tabs.js";
import { attempt } from "./toast.js";

let drawn = false;

async function draw() {
  if (drawn) return;
  drawn = true;
  const document = await once("docs.json");
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => ({ path, method, about })));
  const groups = document.tags.map(({ name, description }) => {
    const of = operations.filter(({ about }) => about.tags?.includes(name));
    return h("div", {}, h("h2", {}, name), h("p", { class: "hint" }, description), ...of.map((operation) => operationOf(operation, document)));
  });
  const raw = h("p", {}, "For generators of clients: ", h("a", { href: "docs.json" }, "docs.json"), ` (OpenAPI ${document.openapi}).`);
  $("reference").replaceChildren(...document.info.description.split("\n\n").map((text) => h("p", {}, text)), raw, ...groups);
}

function operationOf({ path, method, about }, document) {
  const title = h("summary", {}, h("code", {}, `${method.toUpperCase()} ${path}`), ` ${about.description ?? about.summary ?? ""}`);
  return h("details", {}, title, ...takes(about, document), ...gives(about, document));
}

function takes({ parameters = [], requestBody }, document) {
  const fields = Object.values(requestBody?.content ?? {}).flatMap(({ schema }) => Object.keys(resolved(schema, document).properties ?? {}));
  const query = parameters.filter(({ name }) => !fields.includes(name)).map(({ name, in: where, required, description, schema }) => row(name, `${where}${required ? ", required" : ""}`, description ?? resolved(schema, document).description));
  const bodies = Object.entries(requestBody?.content ?? {}).flatMap(([kind, { schema }]) => {
    const { properties = {}, required = [] } = resolved(schema, document);
    const also = (name) => (parameters.some((parameter) => parameter.name === name) ? " or query" : "");
    return Object.entries(properties).map(([name, about]) => row(name, `${kind}${also(name)}${required.includes(name) ? ", required" : ""}`, about.description));
  });
  return query.length + bodies.length ? [table(["field", "where", "meaning"], [...query, ...bodies])] : [];
}

function gives({ responses }, document) {
  const rows = Object.entries(responses).map(([status, { description, content = {} }]) => row(status, Object.keys(content).join(", "), description));
  const media = responses["200"]?.content?.["application/json"];
  const schema = media && resolved(media.schema, document);
  const example = media?.example ?? schema?.examples?.[0];
  return [table(["status", "kind", "meaning"], rows), ...(example ? [h("p", { class: "hint" }, "An answer:"), scrolling("An example", h("pre", {}, JSON.stringify(example, null, 2)))] : [])];
}

const resolved = (schema = {}, document) => (schema.$ref ? document.components.schemas[schema.$ref.split("/").pop()] : schema);
const row = (name, kind, meaning) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, kind), h("td", {}, meaning ?? ""));
const scrolling = (label, child) => h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": label }, child);
const table = (titles, rows) => scrolling(titles.join(", "), h("table", {}, h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, ...rows)));

export function install() {
  onTab((name) => { if (name === "api") attempt(draw); });
}
