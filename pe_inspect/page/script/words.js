// What a view says: the read-out, its table of values, its notes, its links and files.

const FREE = "Move over the map; click pins a patch; drag joins two; arrow keys work too.";
const JOINING = "Click the first patch, then the second.";
const PINNED = "Pinned: point at another patch to compare, drag for a pair that stays, Esc releases.";

function quantityOf(explorer) {
  const { view, choice } = explorer;
  const what = choice.metric === "cosine" ? view.quantity : METRIC_NAMES[choice.metric];
  return choice.minus ? `difference of ${what}` : what;
}

function describe(explorer, frame, track) {
  const label = explorer.tracks.length > 1 ? `${explorer.tracks[track].label}, ` : "";
  return `${quantityOf(explorer)} of ${chosenIn(explorer, frame)} with every patch, ${label}${frame.name}. Arrow keys choose a patch.`;
}

// What is looked at, by its name; the name alone where the frame has no such token.
function chosenIn(explorer, frame) {
  return tokenName(frame, explorer.queryIn(frame) ?? explorer.query);
}

// The error of a whole map, or of its value at one token; a difference of two maps may have both errors.
function errorOf(explorer, track, index, key) {
  const frame = explorer.tracks[track].frames[index];
  const other = explorer.reference(track, index);
  return errorIn(explorer, frame, key) + (other && other !== frame ? errorIn(explorer, other) : 0);
}

function errorIn(explorer, frame, key) {
  const query = explorer.queryIn(frame);
  if (!query) return 0;
  const own = indexOf(frame, query);
  return key ? pairError(frame, own, indexOf(frame, key), explorer.choice) : rowError(frame, own, explorer.choice);
}

// Of all maps that are shown; products and distances, whose errors hang on the lengths, of the chosen map.
function aboutErrors(explorer) {
  const { choice, frame } = explorer;
  if (choice.metric !== "cosine") {
    const values = `Shown values of ${chosenIn(explorer, frame)} in ${whereOf(explorer, frame)}`;
    return withinOf(explorer, values, errorOf(explorer, choice.track, explorer.index));
  }
  const errors = explorer.shownTracks.flatMap((track) => explorer.tracks[track].frames.map((_, index) => errorOf(explorer, track, index)));
  return withinOf(explorer, "Shown values", Math.max(...errors));
}

// An error of 0 is that of values which are exact, or of none at all.
function withinOf(explorer, values, error) {
  if (error > 0) return `${values} are within ${bound(error)} of the exact ones.`;
  const { choice, frame, index } = explorer;
  const isAny = [...explorer.valuesOf(frame, choice.track, index)].some(Number.isFinite);
  return isAny ? `${values} are the exact ones.` : `${values}: none of this map is defined.`;
}

function whereOf(explorer, frame) {
  const { tracks, choice } = explorer;
  return tracks.length > 1 ? `${frame.name}, ${tracks[choice.track].label}` : frame.name;
}

function showReadout(explorer) {
  const { frame } = explorer;
  const lines = linesOf(explorer, frame);
  const head = make("p", { className: "about" }, make("strong", {}, chosenIn(explorer, frame)), ` in ${whereOf(explorer, frame)}`);
  explorer.readout.replaceChildren(head, ...lines.map((line) => make("p", {}, line)), hintOf());
  announce(explorer, [head.textContent, ...lines].join(". "));
}

function linesOf(explorer, frame) {
  const [query, key] = [explorer.queryIn(frame), tokenOf(frame, shared.key)];
  if (!query) return [`${whereOf(explorer, frame)} has no ${explorer.query.prefix}.`];
  const values = explorer.valuesOf(frame, explorer.choice.track, explorer.index);
  return key ? aboutPair(explorer, frame, query, key, values) : aboutQuery(explorer, frame, query, values);
}

function hintOf() {
  return make("p", { className: "hint" }, shared.pinned ? PINNED : shared.joining ? JOINING : FREE);
}

function aboutQuery(explorer, frame, query, values) {
  const own = indexOf(frame, query);
  const patches = [...values.keys()].filter((token) => token >= frame.prefix.length && token !== own);
  const { mean, count } = spread(patches.map((token) => values[token]));
  if (!count) return [`${quantityOf(explorer)}: undefined`];
  const said = [`mean over other patches ${shown(mean)}`];
  if (!explorer.choice.minus) said.push(aboutHighest(frame, query, values, patches));
  return said;
}

// The patch with the highest value; of several that are written alike, the nearest one.
function aboutHighest(frame, query, values, patches) {
  const most = patches.reduce((top, token) => (values[token] > top ? values[token] : top), -Infinity);
  const alike = patches.filter((token) => shown(values[token]) === shown(most));
  const far = (token) => (isAt(query) ? Math.hypot(...offsetOf(frame, query, patchOf(frame, token))) : 0);
  const nearest = alike.reduce((a, b) => (far(b) < far(a) ? b : a));
  const away = isAt(query) ? `, ${distanceWords(frame, offsetOf(frame, query, patchOf(frame, nearest)))} away` : "";
  const others = alike.length > 1 ? `; as high: ${alike.length - 1} more` : "";
  return `highest: ${tokenName(frame, patchOf(frame, nearest))}, ${shown(most)}${away}${others}`;
}

function aboutPair(explorer, frame, query, key, values) {
  const value = values[indexOf(frame, key)];
  const error = Number.isFinite(value) ? ` ± ${bound(errorOf(explorer, explorer.choice.track, explorer.index, key))}` : "";
  const lines = [`with ${tokenName(frame, key)}: ${shown(value)}${error} (${quantityOf(explorer)})`];
  if (explorer.planes.length > 1) lines.push(inEveryTrack(explorer));
  if (!isAt(query) || !isAt(key)) return lines;
  const offset = offsetOf(frame, query, key);
  lines.push(`offset ${signed(offset[0])} rows, ${signed(offset[1])} columns; distance ${distanceWords(frame, offset)}`);
  if (shared.held && !explorer.choice.minus) lines.push(...aboutOffset(explorer, frame, query, key));
  return lines;
}

// The same pair of patches in everything that is compared.
function inEveryTrack(explorer) {
  const said = explorer.planes.map(({ track }) => {
    const frame = explorer.frameOf(track);
    const key = tokenOf(frame, shared.key);
    const value = key ? explorer.valuesOf(frame, track, explorer.index)[indexOf(frame, key)] : NaN;
    return `${explorer.tracks[track].label} ${shown(value)}`;
  });
  return said.join(" · ");
}

// Two-patch mode: the way back, and whether it is the same elsewhere.
function aboutOffset(explorer, frame, query, key) {
  const [i, j] = [query, key].map((token) => indexOf(frame, token));
  const [there, back] = [pairValue(frame, i, j, explorer.choice), pairValue(frame, j, i, explorer.choice)];
  const all = offsetStatistics(frame, query, key, explorer.choice);
  const off = all.deviation > pairError(frame, i, j, explorer.choice) ? `; this pair is ${shown(Math.abs(there - all.mean) / all.deviation, 1)} standard deviations off` : "";
  return [
    `there ${shown(there)}, back ${shown(back)}`,
    `every pair with this offset (${all.count}): mean ${shown(all.mean)}, standard deviation ${shown(all.deviation)}, ${shown(all.low)} to ${shown(all.high)}${off}`,
  ];
}

// Spoken once the pointer or the keys have rested.
function announce(explorer, text) {
  if (shared.last !== explorer) return;
  clearTimeout(explorer.saying);
  explorer.saying = setTimeout(() => (explorer.live.textContent = text), 400);
}

function notesOf(explorer) {
  const { view, frame, choice } = explorer;
  const notes = [...detailsOf(explorer), ...view.notes];
  if (frame.thinnedFrom) notes.push(`${frame.grid.join("×")} evenly spaced patches of ${frame.thinnedFrom.join("×")} are on this page.`);
  for (const track of view.tracks) {
    if (track.before) notes.push(`${track.frames.length} of ${track.before} ${view.axis}s${view.tracks.length > 1 ? ` of ${track.label}` : ""} are on this page, evenly spaced.`);
  }
  notes.push(aboutHeads(explorer));
  if (choice.minus === "previous") notes.push(`${explorer.frames[0].name} has no ${view.axis} before it.`);
  const other = explorer.reference(choice.track, explorer.index);
  if (other && other.grid.join() !== frame.grid.join()) {
    notes.push(`${other.grid.join("×")} is brought to ${frame.grid.join("×")}, bilinearly, before it is taken away.`);
  }
  if (new Set(view.tracks.map((track) => track.frames[0].grid.join())).size > 1) {
    notes.push("Grids differ: a patch of one is matched with the patch of the other that covers its centre.");
  }
  if (choice.scale === "fitted" || choice.minus) notes.push("One scale for all maps here; a value beyond its ends has the colour of the end.");
  if (view.kind === "compare" && view.tracks.length > MOST_PLANES) {
    notes.push(`${view.tracks.length} ${view.trackWord}s are more than fit side by side: one is shown at a time, as chosen under “${view.trackWord}”.`);
  }
  notes.push(aboutErrors(explorer));
  return notes.filter(Boolean).map((note) => note.replace(/[^.!?]$/, "$&."));
}

// How the large maps come to be, each of them: not all need be the model's own.
function detailsOf(explorer) {
  const shown = explorer.shownTracks.map((track) => [explorer.tracks[track].label, explorer.frameOf(track)]);
  const named = shown.filter(([, frame]) => frame.detail);
  return named.map(([label, frame]) => `${shown.length > 1 ? `${label}, ` : ""}${frame.name}: ${frame.detail}.`);
}

// Layers, and what is compared, need not have equally many heads.
function aboutHeads({ choice, view, tracks, shownTracks }) {
  if (choice.head < 0) return "";
  const frames = shownTracks.flatMap((track) => tracks[track].frames.map((frame) => [tracks[track].label, frame]));
  const fewer = frames.filter(([, frame]) => choice.head >= frame.maps.length);
  const names = fewer.map(([label, frame]) => (shownTracks.length > 1 ? `${frame.name} of ${label}` : frame.name));
  const head = view.headNames[choice.head] ?? `head ${choice.head}`;
  return fewer.length ? `The mean of all heads is shown where there is no ${head}: ${names.join(", ")}.` : "";
}

// The numbers behind the small maps, as a table: what a reader has who does not see them.
class ValuesTable {
  constructor(explorer) {
    this.explorer = explorer;
    this.body = make("tbody");
    const heads = [explorer.view.axis, "value", "mean", "minimum", "maximum"];
    const head = make("tr", {}, ...heads.map((name, k) => make("th", { scope: "col", className: k ? "" : "words" }, name)));
    this.caption = make("caption");
    const table = make("table", {}, this.caption, make("thead", {}, head), this.body);
    const box = make("div", { className: "scroll", tabIndex: 0, role: "group" }, table);
    box.setAttribute("aria-label", `The maps of every ${explorer.view.axis} in numbers`);
    const summary = make("summary", {}, `The chosen patches in every ${explorer.view.axis}, in numbers`);
    this.element = make("details", { className: "numbers", ontoggle: () => this.refresh() }, summary, box);
  }

  refresh() {
    if (!this.element.open) return;
    const { explorer } = this;
    const key = tokenOf(explorer.frame, shared.key);
    const to = key ? ` with ${tokenName(explorer.frame, key)}` : "";
    this.caption.textContent = `${quantityOf(explorer)} of ${chosenIn(explorer, explorer.frame)}${to}; mean, minimum and maximum over all other patches`;
    this.body.replaceChildren(...explorer.frames.map((frame, index) => this.row(frame, index)));
  }

  row(frame, index) {
    const { explorer } = this;
    const [query, key] = [explorer.queryIn(frame), tokenOf(frame, shared.key)];
    const own = query ? indexOf(frame, query) : -1;
    const values = explorer.valuesOf(frame, explorer.choice.track, index);
    const rest = spread(values.filter((_, token) => token >= frame.prefix.length && token !== own));
    const cells = [key ? shown(values[indexOf(frame, key)]) : "–", shown(rest.mean), shown(rest.low), shown(rest.high)];
    return make("tr", {}, make("th", { scope: "row" }, frame.name), ...cells.map((text) => make("td", {}, text)));
  }
}
