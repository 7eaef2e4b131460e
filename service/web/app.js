// The page at /: loads the models, then starts each part.

import { json } from "./api.js";
import * as choices from "./choices.js";
import * as detail from "./detail.js";
import * as gallery from "./gallery.js";
import * as generate from "./generate.js";
import * as models from "./models.js";
import * as reference from "./reference.js";
import * as sources from "./sources.js";
import { onChange, readUrl, state, writeUrl } from "./state.js";
import * as tabs from "./tabs.js";
import { attempt } from "./toast.js";

attempt(async () => {
  readUrl();
  state.models = (await json("models")).models;
  for (const listener of [detail.render, gallery.render, writeUrl]) onChange(listener);
  for (const part of [choices, sources, gallery, generate, models, reference, tabs]) part.install();
});
