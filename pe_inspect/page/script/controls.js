// The controls of a view, what pointer and keys do, and the page's start.

function buildControls(explorer) {
  const { view, tracks, choice } = explorer;
  const found = tracks.some((track) => track.frames.length > 1) ? [frameControl(explorer)] : [];
  found.push(...timeControls(explorer));
  if (tracks.length > 1) found.push(trackControl(explorer));
  if (tracks.some((track) => track.frames[0].maps.length > 1)) found.push(headControl(explorer));
  if (tracks.every((track) => track.frames.every((frame) => frame.lengths))) {
    found.push(simple(explorer, "metric", "metric", Object.entries(METRIC_NAMES)));
  }
  const shows = differences(explorer);
  if (shows.length > 1) found.push(simple(explorer, "show", "minus", shows));
  if (view.limit) found.push(scaleControl(explorer));
  found.push(pairControl());
  explorer.controls = found.map((box) => Object.assign(box, { sync: box.sync ?? (() => {}) }));
  return make("div", { className: "controls", role: "group", ariaLabel: `Controls of ${view.title}` }, ...found);
}

function simple(explorer, text, name, options) {
  const box = chooser(text, options, (value) => explorer.set(name, value));
  box.sync = () => box.choose(explorer.choice[name]);
  return box;
}

// Differences, dot products and distances are always fitted: there the choice would do nothing.
function scaleControl(explorer) {
  const { view, choice } = explorer;
  const digits = Number.isInteger(view.limit) ? 0 : 2;
  const whole = `${shown(-view.limit, digits)} to ${shown(view.limit, digits)}`;
  const box = simple(explorer, "scale", "scale", [["whole", whole], ["fitted", "fitted to the maps"]]);
  box.sync = () => {
    const isFitted = Boolean(choice.minus) || choice.metric !== "cosine";
    box.querySelector("select").disabled = isFitted;
    box.choose(isFitted ? "fitted" : choice.scale);
  };
  return box;
}

function trackControl(explorer) {
  const options = explorer.tracks.map((track, t) => [String(t), track.label]);
  const box = chooser(explorer.view.trackWord, options, (value) => explorer.set("track", Number(value)));
  box.sync = () => box.choose(String(explorer.choice.track));
  return box;
}

function headControl(explorer) {
  const most = Math.max(...explorer.tracks.flatMap((track) => track.frames.map((frame) => frame.maps.length)));
  const { headNames } = explorer.view;
  const heads = Array.from({ length: most }, (_, head) => [String(head), headNames[head] ?? String(head)]);
  const box = chooser(headNames.length ? "table" : "head", [["-1", "mean of all"], ...heads], (value) => explorer.set("head", Number(value)));
  box.sync = () => box.choose(String(explorer.choice.head));
  return box;
}

function frameControl(explorer) {
  const { axis } = explorer.view;
  const slider = make("input", { type: "range", min: 0, step: 1, oninput: () => explorer.go(Number(slider.value)) });
  const name = make("output");
  const box = labelled(axis, slider);
  box.classList.add("slider");
  box.append(name);
  const whole = make("div", { className: "control-row" }, box, axis === "epoch" ? player(explorer) : null);
  whole.sync = () => {
    slider.max = explorer.frames.length - 1;
    slider.value = explorer.index;
    slider.disabled = explorer.frames.length < 2;
    slider.setAttribute("aria-valuetext", explorer.frame.name);
    name.textContent = explorer.frame.name;
  };
  return whole;
}

function player(explorer) {
  const button = make("button", { type: "button", className: "plain" }, "Play");
  const stop = () => {
    clearInterval(button.timer);
    button.timer = 0;
    button.textContent = "Play";
  };
  button.addEventListener("click", () => {
    if (button.timer) return stop();
    if (explorer.index === explorer.frames.length - 1) explorer.go(0);
    button.textContent = "Stop";
    button.timer = setInterval(() => {
      explorer.go(explorer.index + 1);
      if (explorer.index === explorer.frames.length - 1) stop();
    }, 400);
  });
  return button;
}

function pairControl() {
  const box = make("button", { type: "button", className: "plain", onclick: () => toggle() }, "Two patches");
  const toggle = () => {
    shared.joining = !shared.joining;
    if (!shared.joining) Object.assign(shared, { held: false, key: null });
    changed(shared.explorers.find((one) => one.root.contains(box)));
  };
  box.sync = () => box.setAttribute("aria-pressed", String(Boolean(shared.joining || shared.held)));
  return box;
}

function differences({ view, tracks }) {
  const found = [["", "the values"]];
  if (tracks.length > 1) tracks.forEach((track, t) => found.push([`track:${t}`, `minus ${track.label}`]));
  const most = Math.max(...tracks.map((track) => track.frames.length));
  if (most > 1) found.push(["previous", `minus the ${view.axis} before`]);
  if (most < 2 || tracks.some((track) => track.frames.length < most)) return found;
  const names = (k) => [...new Set(tracks.map((track) => track.frames[k].name))].join(" or ");
  return [...found, ...tracks[0].frames.map((_, k) => [`frame:${k}`, `minus ${names(k)}`])];
}

function buildActions(explorer) {
  const button = (text, onclick) => make("button", { type: "button", className: "plain", onclick }, text);
  const link = button("Copy link", async () => {
    const address = location.href.replace(/#.*$/, "") + linkOf(explorer);
    explorer.live.textContent = link.textContent = (await copied(address)) ? "Link copied" : "Copying was refused";
    setTimeout(() => (link.textContent = "Copy link"), 2000);
  });
  link.hidden = location.protocol === "about:"; // a page inside a notebook has no address of its own
  const label = make("span", { className: "control" }, "Download what is shown");
  return make("div", { className: "actions" }, link, label,
    button("PNG", () => savePng(explorer)), button("CSV", () => saveCsv(explorer)), button("NPY", () => saveNpy(explorer)));
}

// --- pointer and keys

function pointerActions(explorer) {
  const set = (values) => {
    Object.assign(shared, values);
    changed(explorer);
  };
  return {
    point(token) {
      if (shared.held) return;
      if (!shared.pinned) set({ query: token, key: null });
      else if (!samePlace(shared.key, token)) set({ key: token });
    },
    leave() {
      if (shared.key && !shared.held) set({ key: null });
    },
    choose(token) {
      if (shared.joining && shared.pinned) return this.second(token);
      const isSame = shared.pinned && samePlace(explorer.queryIn(explorer.frame), token);
      set({ query: token, key: null, pinned: !isSame, held: false });
    },
    pair: (from, to) => set({ query: from, key: to, pinned: true, held: true }),
    show: (time) => explorer.showTime(time),
    second: (token) => set({ query: explorer.query, key: token, pinned: true, held: true }),
    key: (name, isShifted, arrow) => pressed(explorer, set, name, isShifted, arrow),
  };
}

function pressed(explorer, set, name, isShifted, arrow) {
  const { frame } = explorer;
  if (name === "Escape") return set({ pinned: false, held: false, joining: false, key: null }), true;
  if (name === "PageDown" || name === "PageUp") return explorer.go(explorer.index + (name === "PageDown" ? 1 : -1)), true;
  const query = explorer.queryIn(frame) ?? patchOf(frame, frame.prefix.length);
  if (!arrow) return false;
  if (isShifted || shared.joining) {
    const from = (shared.held && tokenOf(frame, shared.key)) || (isAt(query) ? atTime(frame, query, explorer.time) : query);
    return set({ query, key: stepped(frame, from, arrow), pinned: true, held: true }), true;
  }
  return set({ query: stepped(frame, query, arrow), pinned: true, held: false, key: null }), true;
}

// --- the start

async function decoded(data) {
  const tables = await Promise.all(data.tables.map(async (table) => rowsOf(table, await unzipped(table.data))));
  const made = new Map();
  const rows = (table, steps) => {
    const key = [table, ...steps].join();
    if (!made.has(key)) made.set(key, steps.length ? stepOn(rows(table, steps.slice(0, -1)), data.tables[table].channels, data.steps[steps.at(-1)]) : tables[table]);
    return made.get(key);
  };
  const grids = new Map(data.frames.flatMap((frame) => frame.maps.map((map) => [map, frame.grid])));
  const maps = await Promise.all(data.maps.map((map, k) => mapOf(map, grids.get(k), rows)));
  return data.frames.map((frame) => frameOf(frame, frame.maps.map((k) => maps[k])));
}

function stepOn(rows, channels, step) {
  return step.rows ? resampledRows(rows, channels, step) : normed(rows, channels, step);
}

async function mapOf(map, grid, rows) {
  if (map.form === "vectors") return mapOfRows(map, rows(map.table, map.steps));
  const codes = await unzipped(map.data);
  if (map.filtered) undoDiagonal(map, codes);
  return map.form === "offsets" ? mapOfOffsets(map, codes, grid) : mapOfCodes(map, codes);
}

function frameOf(frame, maps) {
  const tokens = frame.prefix.length + frame.grid[0] * frame.grid[1];
  const own = frame.norms ? Float32Array.from(frame.norms) : maps[0].lengths;
  const lengths = frame.hasNorms && maps.length === 1 ? own : null;
  return { ...frame, maps, tokens, lengths };
}

function palettesOf(data) {
  return Object.fromEntries(Object.entries(data.palettes).map(([name, text]) => [name, bytesOf(text)]));
}

function applyLink() {
  const link = parseLink(location.hash);
  if (!Object.keys(link).length) return;
  const { explorers } = shared;
  const target = explorers.find((one) => one.view.id === link.view) ?? explorers.find((one) => link[one.view.axis] !== undefined) ?? explorers[0];
  for (const explorer of explorers) takeLink(explorer, link, explorer === target);
  target.root.closest("section")?.scrollIntoView();
}

function takeLink(explorer, link, isTarget) {
  const { view, choice, tracks } = explorer;
  const track = tracks.findIndex((one) => one.label === link[view.trackWord]);
  if (isTarget && track >= 0) choice.track = track;
  const place = frameNamed(explorer.frames, link[view.axis] ?? "");
  if (place >= 0 && (isTarget || !explorer.own || !link.view)) explorer.hold(place);
  if (!isTarget) return explorer.rebuild();
  const heads = explorer.frame.maps.length;
  if (/^\d+$/.test(link.head ?? "") && Number(link.head) < heads) choice.head = Number(link.head);
  if (link.metric in METRIC_NAMES && explorer.frame.lengths) choice.metric = link.metric;
  if (differences(explorer).some(([value]) => value === link.minus)) choice.minus = link.minus;
  if (link.scale === "fitted") choice.scale = "fitted";
  if (/^\d+$/.test(link.time ?? "") && Number(link.time) < explorer.frame.times) explorer.shownTime = Number(link.time);
  takePatches(explorer, link);
  explorer.rebuild();
}

function takePatches({ frame, tracks }, link) {
  const sides = /^(\d+)x(\d+)$/.exec(link.grid ?? "");
  const grid = sides ? [Number(sides[1]), Number(sides[2])] : wholeGrid(frame);
  const known = tracks.flatMap((track) => track.frames.flatMap((one) => one.prefix));
  const read = (text) => (known.includes(text) ? { prefix: text } : parsePatch(text, grid));
  const [query, key] = [read(link.patch), read(link.with)];
  if (query) Object.assign(shared, { query, pinned: true });
  if (query && key) Object.assign(shared, { key, held: true });
}

async function startViews(element) {
  const data = JSON.parse(element.textContent);
  const frames = await decoded(data);
  const palettes = palettesOf(data);
  for (const view of data.views) {
    for (const track of view.tracks) track.frames = track.frames.map((place) => frames[place]);
    const root = document.getElementById(view.id);
    shared.explorers.push(new Explorer(view, palettes, root));
  }
  applyLink();
  addEventListener("hashchange", applyLink);
}

function ready() {
  document.documentElement.dataset.ready = "views";
}

// The colours follow the system until somebody chooses: the rule for dark ones is then always on, or never.
function startColours() {
  const rule = [...document.styleSheets[0].cssRules].find((one) => one.media?.mediaText.includes("prefers-color-scheme"));
  const when = { system: rule.media.mediaText, light: "not all", dark: "all" };
  const choose = (value) => {
    rule.media.mediaText = when[value];
    document.documentElement.style.colorScheme = value === "system" ? "" : value;
  };
  const box = chooser("colours", [["system", "as the system"], ["light", "light"], ["dark", "dark"]], choose);
  box.classList.add("colours");
  document.querySelector("header").prepend(box);
}

function startTables() {
  for (const table of document.querySelectorAll("main table[data-name]")) {
    const rows = () => [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent));
    const button = (text, onclick) => make("button", { type: "button", className: "plain", onclick }, text);
    const copy = button("Copy", async () => {
      const text = rows().map((row) => row.join("\t")).join("\n");
      copy.textContent = (await copied(text)) ? "Copied" : "Copying was refused";
      setTimeout(() => (copy.textContent = "Copy"), 2000);
    });
    const save = button("CSV", () => download(`${table.dataset.name}.csv`, "text/csv", [csv(rows())]));
    table.parentElement.before(make("div", { className: "actions" }, copy, save));
  }
}

function start() {
  startColours();
  startTables();
  const element = document.getElementById("views-data");
  if (!element && !document.querySelector("script.heads-data")) return;
  const message = document.getElementById("views-message");
  const views = document.querySelectorAll(".explorer");
  const fail = (text) => {
    message.textContent = text;
    message.hidden = false;
    for (const figures of document.querySelectorAll("details.static")) figures.open = true;
    for (const view of views) view.hidden = true;
  };
  if (typeof DecompressionStream === "undefined") {
    return fail("This browser cannot unpack the data of the interactive views (it has no DecompressionStream); the figures below show the same.");
  }
  for (const figures of document.querySelectorAll("details.static")) figures.open = false;
  for (const view of views) view.hidden = false;
  Promise.all([element && startViews(element), startHeads()]).then(ready).catch((error) => fail(`The interactive views could not be built (${error.message}); the figures below show the same.`));
}

start();
