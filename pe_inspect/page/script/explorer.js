// One view: controls, large maps, all maps small, what is pointed at in numbers.

const METRIC_NAMES = { cosine: "cosine", dot: "dot product", l2: "L2 distance" };
const SAMPLES = 16;
const MOST_PLANES = 4;

// What all views of a page share: the patch that is looked at, and the second one.
const shared = { query: null, key: null, pinned: false, held: false, frames: {}, explorers: [] };

class Explorer {
  constructor(view, palettes, root) {
    Object.assign(this, { view, palettes, root, tracks: view.tracks });
    this.choice = { track: 0, head: -1, metric: "cosine", minus: "", scale: view.limit ? "whole" : "fitted" };
    this.ranges = new Map();
    this.base = new URLSearchParams();
    this.build();
  }

  // --- what is chosen

  get frames() {
    return this.tracks[this.choice.track].frames;
  }

  get index() {
    const { place, name } = shared.frames[this.view.axis + this.own] ?? { place: this.view.start };
    if (this.frames[place]?.name === name) return place;
    const named = this.frames.findIndex((frame) => frame.name === name);
    return named >= 0 ? named : Math.min(place, this.frames.length - 1);
  }

  // Views of layers move together; a player and a slider of grids are their own.
  get own() {
    return this.view.axis === "layer" ? "" : this.view.id;
  }

  get frame() {
    return this.frames[this.index];
  }

  // What the maps are of: what was chosen anywhere, or the middle where no large map here has that.
  get query() {
    const isHere = this.shownTracks.some((track) => tokenOf(this.frameOf(track), shared.query));
    return isHere ? shared.query : this.middle;
  }

  get middle() {
    const { view, frame } = this;
    const [row, column] = view.token ?? [frame.grid[0] >> 1, (frame.times >> 1) * widthOf(frame) + (widthOf(frame) >> 1)];
    return { row, column, grid: view.token ? this.tracks[0].frames[view.start].grid : frame.grid };
  }

  // The frame of a clip that is shown large: the query's own, until another one is chosen.
  get time() {
    return Math.min(this.shownTime ?? this.queryTime, this.frame.times - 1);
  }

  get queryTime() {
    const query = this.queryIn(this.frame);
    return query && isAt(query) ? timeOf(this.frame, query) : 0;
  }

  // Null where the frame has no such token.
  queryIn(frame) {
    return tokenOf(frame, this.query);
  }

  // --- maps

  valuesOf(frame, track, index) {
    const own = this.plain(frame);
    if (!this.choice.minus) return own;
    const other = this.reference(track, index);
    return other ? subtracted(own, this.plain(other), frame, other) : own.fill(NaN);
  }

  plain(frame) {
    const query = this.queryIn(frame);
    return query ? tokenMap(frame, indexOf(frame, query), this.choice) : new Float32Array(frame.tokens).fill(NaN);
  }

  // The frame that differences are taken from; the first one has none before it.
  reference(track, index) {
    const [kind, place] = this.choice.minus.split(":");
    if (kind === "track") {
      const { frames } = this.tracks[Number(place)];
      return frames[Math.min(index, frames.length - 1)];
    }
    if (kind === "previous") return this.tracks[track].frames[index - 1] ?? null;
    return kind === "frame" ? this.tracks[track].frames[Number(place)] : null;
  }

  get scale() {
    const { metric, scale, minus } = this.choice;
    if (scale === "whole" && metric === "cosine" && !minus && this.view.limit) {
      return { low: -this.view.limit, high: this.view.limit, palette: "diverging" };
    }
    const key = JSON.stringify([this.choice, minus ? 0 : ""]);
    if (!this.ranges.has(key)) this.ranges.set(key, this.fittedScale());
    return this.ranges.get(key);
  }

  // Fitted to evenly spaced query patches in all frames of all tracks: hovering never moves it.
  fittedScale() {
    const kept = [shared.query, Infinity, -Infinity];
    let [low, high] = [Infinity, -Infinity];
    const every = this.tracks.flatMap((track, t) => track.frames.map((frame, k) => [frame, t, k]));
    const stride = Math.max(1, Math.ceil(every.length / 24));
    for (let sample = 0; sample < SAMPLES; sample++) {
      for (let place = 0; place < every.length; place += stride) {
        const [frame, t, k] = every[place];
        shared.query = spreadPatch(frame.grid, sample);
        const self = this.choice.minus ? -1 : indexOf(frame, this.queryIn(frame));
        this.valuesOf(frame, t, k).forEach((value, token) => {
          if (token === self || !(Math.abs(value) < Infinity)) return;
          low = Math.min(low, value);
          high = Math.max(high, value);
        });
      }
    }
    shared.query = kept[0];
    if (this.choice.metric === "l2" && !this.choice.minus) low = Math.min(low, 0);
    return this.choice.minus ? centred(low, high) : scaleOf(low, high);
  }

  // --- building

  build() {
    this.live = make("p", { className: "unseen", role: "status" });
    this.readout = make("div", { className: "readout" });
    this.stage = make("div", { className: "stage" });
    this.small = make("div", { className: "small-maps", role: "group" });
    this.small.setAttribute("aria-label", `All ${this.view.axis}s`);
    this.bar = canvasOf(256, 10, { className: "scale-bar" });
    this.bar.setAttribute("aria-hidden", "true");
    this.ticks = make("p", { className: "ticks" });
    this.scaleBox = make("div", { className: "scale" }, this.bar, this.ticks);
    this.notes = make("p", { className: "view-notes" });
    this.table = new ValuesTable(this);
    const side = make("div", { className: "side" }, this.readout, this.small);
    const large = make("div", { className: "large" }, this.stage, this.scaleBox);
    this.root.replaceChildren(
      buildControls(this), make("div", { className: "panes" }, large, side), this.notes,
      this.table.element, buildActions(this), this.live,
    );
    this.root.hidden = false;
    this.rebuild();
  }

  // The canvases of the chosen track.
  rebuild() {
    const { shownTracks } = this;
    this.root.classList.toggle("is-wide", shownTracks.length > 1);
    this.root.classList.toggle("has-film", this.frame.times > 1);
    this.restage();
    this.buttons = shownTracks.flatMap((t) => this.tracks[t].frames.map((frame, k) => this.button(frame, t, k)));
    this.small.replaceChildren(...this.rowsOfButtons(shownTracks));
    this.revealed = null;
    this.update();
  }

  get shownTracks() {
    const several = this.view.kind === "compare" && this.tracks.length <= MOST_PLANES;
    return several ? this.tracks.map((_, t) => t) : [this.choice.track];
  }

  // The large maps, whose grid another frame may not have: who was on one with the keyboard stays there.
  restage() {
    const place = this.planes?.findIndex((plane) => plane.element.contains(document.activeElement)) ?? -1;
    this.planes = this.shownTracks.map((t) => this.planeOf(t));
    this.stage.replaceChildren(...this.planes.map((plane) => plane.element));
    this.planes[place]?.field.focus({ preventScroll: true });
  }

  rowsOfButtons(shownTracks) {
    return shownTracks.map((t) => {
      const row = make("div", { className: "small-row" }, ...this.buttons.filter((b) => b.track === t));
      return shownTracks.length < 2 ? row : make("div", {}, make("p", { className: "plane-label" }, this.tracks[t].label), row);
    });
  }

  frameOf(track) {
    const { frames } = this.tracks[track];
    return frames[Math.min(this.index, frames.length - 1)];
  }

  planeOf(track) {
    const frame = this.frameOf(track);
    const label = this.tracks.length > 1 ? this.tracks[track].label : "";
    const plane = new Plane(label, frame, pointerActions(this));
    return Object.assign(plane, { track });
  }

  button(frame, track, index) {
    const map = frame.times > 1 ? new Film(frame) : new MapCanvas(frame.grid);
    map.element.style.width = `${100 * Math.min(frame.grid[1] / frame.grid[0], 1)}%`;
    const choose = () => this.go(index);
    const item = make("button", { type: "button", className: "small-map", onclick: choose, title: [frame.name, frame.detail].filter(Boolean).join(": ") }, map.element, make("span", {}, frame.name));
    return Object.assign(item, { map, track, index });
  }

  // --- moving

  go(index) {
    this.hold(Math.min(Math.max(index, 0), this.frames.length - 1));
    changed(this);
  }

  hold(place) {
    shared.frames[this.view.axis + this.own] = { place, name: this.frames[place].name };
  }

  // The query stays where it is while other frames are looked at.
  showTime(time) {
    this.shownTime = time;
    Object.assign(shared, { query: this.query, pinned: true });
    changed(this);
  }

  moveQuery(time) {
    const query = this.queryIn(this.frame);
    if (!query || !isAt(query)) return;
    Object.assign(shared, { query: atTime(this.frame, query, time), key: null, pinned: true, held: false });
    changed(this);
  }

  set(name, value) {
    this.choice[name] = value;
    if (name === "track") this.rebuild();
    changed(this);
  }

  schedule() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.update();
    });
  }

  update() {
    const { scale } = this;
    if (!this.planes.every((plane) => plane.fits(this.frameOf(plane.track)))) this.restage();
    for (const plane of this.planes) this.drawPlane(plane, scale);
    for (const item of this.buttons) this.drawSmall(item, scale);
    this.reveal();
    this.drawScale(scale);
    this.showNotes();
    showReadout(this);
    this.controls?.forEach((control) => control.sync());
    this.table.refresh();
  }

  drawPlane(plane, scale) {
    const frame = this.frameOf(plane.track);
    const values = this.valuesOf(frame, plane.track, this.index);
    plane.draw(values, frame.prefix.length, scale, this.palettes, Math.min(this.time, frame.times - 1));
    plane.mark(this.queryIn(frame), tokenOf(frame, shared.key));
    plane.field.setAttribute("aria-label", describe(this, frame, plane.track));
  }

  drawSmall(item, scale) {
    const frame = this.tracks[item.track].frames[item.index];
    const values = this.valuesOf(frame, item.track, item.index);
    item.map.draw(values.subarray(frame.prefix.length), scale, this.palettes);
    const current = item.index === Math.min(this.index, this.tracks[item.track].frames.length - 1);
    item.setAttribute("aria-pressed", String(current));
  }

  // The chosen small map is scrolled into sight within its box: the page stays where it is.
  reveal() {
    const { small, index, choice } = this;
    if (this.revealed === index) return;
    this.revealed = index;
    const chosen = this.buttons.find((item) => item.index === index && item.track === choice.track);
    const [box, within] = [chosen, small].map((one) => one.getBoundingClientRect());
    small.scrollTop += Math.min(box.top - within.top, 0) + Math.max(box.bottom - within.bottom, 0);
  }

  drawScale(scale) {
    const key = JSON.stringify(scale) + this.choice.metric + this.choice.minus;
    if (key === this.scaleKey) return;
    this.scaleKey = key;
    drawScale(this.bar, scale, this.palettes);
    this.tickTexts = ticksOf(scale);
    this.ticks.replaceChildren(...this.tickTexts.map((text) => make("span", {}, text)));
    this.scaleBox.dataset.label = quantityOf(this);
  }

  showNotes() {
    const notes = notesOf(this).map((note) => `${note} `);
    if (notes.join("") === this.notes.textContent) return;
    this.notes.replaceChildren(...notes.map((note) => make("span", {}, note)));
  }
}

function spreadPatch(grid, sample) {
  const count = grid[0] * grid[1];
  const place = Math.floor(((sample + 0.5) * count) / SAMPLES) % count;
  return { row: Math.floor(place / grid[1]), column: place % grid[1], grid };
}

function centred(low, high) {
  const limit = Math.max(-low, high, 1e-9);
  return limit < Infinity ? { low: -limit, high: limit, palette: "diverging" } : scaleOf(0, 1);
}

// Every view that shares what changed is drawn once in the next frame.
function changed(source) {
  shared.last = source;
  for (const explorer of shared.explorers) explorer.schedule();
  writeLink(source);
}
