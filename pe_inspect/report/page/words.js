// What a view says: the read-out, its table of values, its notes, its links and files.

const FREE = "Move over the map; click pins a patch; drag joins two; arrow keys work too.";
const JOINING = "Click the first patch, then the second.";
const PINNED = "Pinned: point at another patch to compare, drag for a pair that stays, Esc releases.";

function tokenName(frame, token) {
  if (token.prefix !== undefined) return frame.prefix[token.prefix];
  return `row ${token.row}, column ${token.column}`;
}

function quantityOf(explorer) {
  const { view, choice } = explorer;
  const what = choice.metric === "cosine" ? view.quantity : METRIC_NAMES[choice.metric];
  return choice.minus ? `difference of ${what}` : what;
}

function isAt(token) {
  return token.prefix === undefined;
}

function offsetOf(query, key) {
  return [key.row - query.row, key.column - query.column];
}

function describe(explorer, frame, track) {
  const query = explorer.queryIn(frame);
  const label = explorer.tracks.length > 1 ? `${explorer.tracks[track].label}, ` : "";
  return `${quantityOf(explorer)} of ${tokenName(frame, query)} with every patch, ${label}${frame.name}. Arrow keys choose a patch.`;
}

// The error of a whole map, or of its value at one token; a difference of two maps may have both errors.
function errorOf(explorer, frame, key) {
  const { choice } = explorer;
  const query = (one) => explorer.indexOf(one, explorer.queryIn(one));
  const whole = (one) => rowError(one, query(one), choice);
  const own = key ? pairError(frame, query(frame), explorer.indexOf(frame, key), choice) : whole(frame);
  const other = explorer.reference(choice.track, explorer.index);
  return own + (other && other !== frame ? whole(other) : 0);
}

function placeOf(explorer, frame) {
  const { tracks, choice } = explorer;
  return tracks.length > 1 ? `${frame.name}, ${tracks[choice.track].label}` : frame.name;
}

function showReadout(explorer) {
  const { frame } = explorer;
  const query = explorer.queryIn(frame);
  const key = explorer.tokenIn(frame, shared.key);
  const values = explorer.valuesOf(frame, explorer.choice.track, explorer.index);
  const lines = key ? aboutPair(explorer, frame, query, key, values) : aboutQuery(explorer, frame, query, values);
  const head = make("p", { className: "about" }, make("strong", {}, tokenName(frame, query)), ` in ${placeOf(explorer, frame)}`);
  explorer.readout.replaceChildren(head, ...lines.map((line) => make("p", {}, line)), hintOf());
  announce(explorer, [head.textContent, ...lines].join(". "));
}

function hintOf() {
  return make("p", { className: "hint" }, shared.pinned ? PINNED : shared.joining ? JOINING : FREE);
}

function aboutQuery(explorer, frame, query, values) {
  const own = explorer.indexOf(frame, query);
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
  const far = (token) => (isAt(query) ? Math.hypot(...offsetOf(query, patchOf(frame, token))) : 0);
  const nearest = alike.reduce((a, b) => (far(b) < far(a) ? b : a));
  const away = isAt(query) ? `, ${shown(far(nearest), 2)} patches away` : "";
  const others = alike.length > 1 ? `; as high: ${alike.length - 1} more` : "";
  return `highest: ${tokenName(frame, patchOf(frame, nearest))}, ${shown(most)}${away}${others}`;
}

function patchOf(frame, token) {
  const place = token - frame.prefix.length;
  return { row: Math.floor(place / frame.grid[1]), column: place % frame.grid[1] };
}

function aboutPair(explorer, frame, query, key, values) {
  const value = values[explorer.indexOf(frame, key)];
  const error = Number.isFinite(value) ? ` ± ${shown(errorOf(explorer, frame, key), 4)}` : "";
  const lines = [`with ${tokenName(frame, key)}: ${shown(value)}${error} (${quantityOf(explorer)})`];
  if (explorer.planes.length > 1) lines.push(inEveryTrack(explorer));
  if (!isAt(query) || !isAt(key)) return lines;
  const [down, right] = offsetOf(query, key);
  lines.push(`offset ${signed(down)} rows, ${signed(right)} columns; distance ${shown(Math.hypot(down, right), 2)} patches`);
  if (shared.held && !explorer.choice.minus) lines.push(...aboutOffset(explorer, frame, query, key));
  return lines;
}

// The same pair of patches in everything that is compared.
function inEveryTrack(explorer) {
  const said = explorer.planes.map(({ track }) => {
    const frame = explorer.frameOf(track);
    const value = explorer.valuesOf(frame, track, explorer.index)[explorer.indexOf(frame, explorer.tokenIn(frame, shared.key))];
    return `${explorer.tracks[track].label} ${shown(value)}`;
  });
  return said.join(" · ");
}

// Two-patch mode: the way back, and whether it is the same elsewhere.
function aboutOffset(explorer, frame, query, key) {
  const [i, j] = [query, key].map((token) => explorer.indexOf(frame, token));
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
  const notes = [frame.detail && `${frame.name}: ${frame.detail}.`, ...view.notes];
  if (frame.thinnedFrom) notes.push(`${frame.grid.join("×")} evenly spaced patches of ${frame.thinnedFrom.join("×")} are on this page.`);
  for (const track of view.tracks) {
    if (track.before) notes.push(`${track.frames.length} of ${track.before} ${view.axis}s${view.tracks.length > 1 ? ` of ${track.label}` : ""} are on this page, evenly spaced.`);
  }
  if (choice.head >= frame.maps.length) notes.push(`${frame.name} has ${frame.maps.length} heads: their mean is shown.`);
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
  const these = choice.metric === "cosine" ? "Shown values" : "Shown values of this patch";
  notes.push(`${these} are within ${shown(errorOf(explorer, frame), 4)} of the exact ones.`);
  return notes.filter(Boolean).map((note) => note.replace(/[^.!?]$/, "$&."));
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
    const [query, key] = [explorer.queryIn(explorer.frame), explorer.tokenIn(explorer.frame, shared.key)];
    const to = key ? ` with ${tokenName(explorer.frame, key)}` : "";
    this.caption.textContent = `${quantityOf(explorer)} of ${tokenName(explorer.frame, query)}${to}; mean, minimum and maximum over all other patches`;
    this.body.replaceChildren(...explorer.frames.map((frame, index) => this.row(frame, index)));
  }

  row(frame, index) {
    const { explorer } = this;
    const [own, key] = [explorer.indexOf(frame, explorer.queryIn(frame)), explorer.tokenIn(frame, shared.key)];
    const values = explorer.valuesOf(frame, explorer.choice.track, index);
    const rest = spread(values.filter((_, token) => token >= frame.prefix.length && token !== own));
    const cells = [key ? shown(values[explorer.indexOf(frame, key)]) : "–", shown(rest.mean), shown(rest.low), shown(rest.high)];
    return make("tr", {}, make("th", { scope: "row" }, frame.name), ...cells.map((text) => make("td", {}, text)));
  }
}

// --- links and files

function linkOf(explorer) {
  const { frame, frames, index, choice, view } = explorer;
  const query = explorer.queryIn(frame);
  const key = shared.held ? explorer.tokenIn(frame, shared.key) : null;
  const place = (token) => (isAt(token) ? `${token.row},${token.column}` : frame.prefix[token.prefix]);
  return formatLink({
    view: view.id,
    [view.axis]: linkWord(frames, index),
    patch: place(query),
    grid: view.axis === "grid" ? undefined : frame.grid.join("x"),
    with: key && place(key),
    [view.trackWord]: view.tracks.length > 1 ? view.tracks[choice.track].label : "",
    head: choice.head < 0 ? "" : choice.head,
    metric: choice.metric === "cosine" ? "" : choice.metric,
    minus: choice.minus,
    scale: choice.scale === (view.limit ? "whole" : "fitted") ? "" : choice.scale,
  });
}

function writeLink(explorer) {
  clearTimeout(shared.writing);
  shared.writing = setTimeout(() => {
    try {
      history.replaceState(null, "", linkOf(explorer));
    } catch {
      // a page inside a notebook's frame has no address of its own
    }
  }, 150);
}

function fileName(explorer, suffix) {
  const { frame } = explorer;
  const query = explorer.queryIn(frame);
  const place = isAt(query) ? `${query.row}-${query.column}` : frame.prefix[query.prefix];
  return `${explorer.view.id}_${place}.${suffix}`.replace(/[^\w.-]+/g, "-");
}

function saveNpy(explorer) {
  const { choice, frames } = explorer;
  const one = new Set(frames.map((frame) => frame.grid.join())).size === 1;
  const kept = one ? frames : [explorer.frame];
  const maps = kept.map((frame) => explorer.valuesOf(frame, choice.track, frames.indexOf(frame)).subarray(frame.prefix.length));
  const values = new Float32Array(maps.reduce((sum, map) => sum + map.length, 0));
  maps.reduce((place, map) => (values.set(map, place), place + map.length), 0);
  download(fileName(explorer, "npy"), "application/octet-stream", npy(values, [kept.length, ...kept[0].grid]));
}

function saveCsv(explorer) {
  const rows = [[explorer.view.axis, "track", "row", "column", "value"]];
  explorer.planes.forEach(({ track }) => {
    explorer.tracks[track].frames.forEach((frame, index) => {
      explorer.valuesOf(frame, track, index).forEach((value, token) => {
        const patch = token < frame.prefix.length ? { row: frame.prefix[token], column: "" } : patchOf(frame, token);
        rows.push([frame.name, explorer.tracks[track].label, patch.row, patch.column, value]);
      });
    });
  });
  download(fileName(explorer, "csv"), "text/csv", [csv(rows)]);
}

function savePng(explorer) {
  const { frame, scale, palettes, planes, buttons, tickTexts } = explorer;
  const canvas = pictureOf({
    title: explorer.view.title,
    subtitle: `${quantityOf(explorer)} of ${tokenName(frame, explorer.queryIn(frame))} · ${document.title}`,
    planes: planes.map((plane) => ({ source: plane.canvas.element, label: `${explorer.tracks[plane.track].label} ${explorer.frameOf(plane.track).name}` })),
    small: buttons.map((item) => ({ source: item.map.element, label: explorer.tracks[item.track].frames[item.index].name })),
    scale, ticks: tickTexts, palettes,
  });
  downloadCanvas(fileName(explorer, "png"), canvas);
}
