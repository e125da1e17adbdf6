// A large map that a patch is chosen on: pointer, touch and keys; prefix tokens as cells above.

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

class Plane {
  constructor(label, frame, act) {
    const { grid, prefix, times } = frame;
    Object.assign(this, { act, prefix, frame, time: 0 });
    this.canvas = new MapCanvas([grid[0], widthOf(frame)]);
    this.film = times > 1 ? new Film(frame, act.show) : null;
    this.marks = ["query", "key"].map((kind) => make("span", { className: `mark ${kind}`, hidden: true }));
    this.label = make("p", { className: "plane-label" }, label);
    this.field = make("div", { className: "field", tabIndex: 0, role: "application" }, this.canvas.element, ...this.marks);
    this.field.setAttribute("aria-roledescription", "map of patches");
    this.field.style.aspectRatio = `${widthOf(frame)} / ${grid[0]}`;
    this.cells = prefix.map((name) => this.cell(name));
    const strip = prefix.length ? make("div", { className: "cells" }, ...this.cells) : null;
    this.element = make("div", { className: "plane" }, this.label, strip, this.film?.element, this.field, this.edges(frame));
    this.listen();
  }

  fits({ grid, prefix, times }) {
    const own = this.frame;
    return grid.join() === own.grid.join() && times === own.times && prefix.join() === own.prefix.join();
  }

  cell(name) {
    const token = { prefix: name };
    const swatch = new MapCanvas([1, 1]);
    const number = make("span", { className: "cell-value" });
    const button = make("button", { type: "button", className: "cell" }, swatch.element, make("span", {}, name), number);
    button.addEventListener("click", () => this.act.choose(token));
    button.addEventListener("pointerenter", () => this.act.point(token));
    return Object.assign(button, { swatch, number });
  }

  edges(frame) {
    const [height, width] = this.canvas.grid;
    const [top, left] = placeOf(frame, { row: 0, column: 0 });
    const [bottom, right] = placeOf(frame, { row: height - 1, column: width - 1 });
    const text = `rows ${top}–${bottom} down, columns ${left}–${right} across`;
    return make("p", { className: "edges" }, text);
  }

  listen() {
    const { field } = this;
    field.addEventListener("pointermove", (event) => this.moved(event));
    field.addEventListener("pointerdown", (event) => this.pressed(event));
    field.addEventListener("pointerup", (event) => this.released(event));
    field.addEventListener("pointercancel", () => (this.from = null));
    field.addEventListener("pointerleave", () => this.act.leave());
    field.addEventListener("keydown", (event) => this.typed(event));
  }

  patchAt(event) {
    const box = this.canvas.element.getBoundingClientRect();
    const [height, width] = this.canvas.grid;
    const place = (at, side, count) => Math.min(Math.max(Math.floor((at / side) * count), 0), count - 1);
    const row = place(event.clientY - box.top, box.height, height);
    const column = place(event.clientX - box.left, box.width, width);
    return { row, column: this.time * width + column, grid: this.frame.grid };
  }

  moved(event) {
    const patch = this.patchAt(event);
    if (this.from && !samePlace(this.from, patch)) this.act.pair(this.from, patch);
    else if (event.pointerType !== "touch") this.act.point(patch);
  }

  pressed(event) {
    if (event.button !== 0) return;
    this.from = this.patchAt(event);
    this.field.setPointerCapture(event.pointerId);
  }

  released(event) {
    const [from, to] = [this.from, this.patchAt(event)];
    this.from = null;
    if (!from) return;
    if (!samePlace(from, to)) this.act.pair(from, to);
    else if (event.shiftKey) this.act.second(to);
    else this.act.choose(to);
  }

  typed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const done = this.act.key(event.key, event.shiftKey, ARROWS[event.key]);
    if (done) event.preventDefault();
  }

  // What a picture is made of: all frames, where there are several.
  get picture() {
    return this.film ? this.film.picture : this.canvas.element;
  }

  draw(values, numPrefix, scale, palettes, time) {
    const patches = values.subarray(numPrefix);
    this.time = time;
    this.canvas.draw(patchesAt(this.frame, patches, time), scale, palettes);
    this.film?.draw(patches, scale, palettes);
    this.cells.forEach((cell, place) => {
      cell.swatch.draw(values.subarray(place, place + 1), scale, palettes);
      cell.number.textContent = shown(values[place]);
    });
  }

  mark(query, key) {
    [query, key].forEach((token, k) => this.place(this.marks[k], token));
    this.film?.mark(this.time, query && isAt(query) ? timeOf(this.frame, query) : -1);
    this.cells.forEach((cell, place) => {
      cell.setAttribute("aria-pressed", String(query?.prefix === this.prefix[place]));
      cell.classList.toggle("is-key", key?.prefix === this.prefix[place]);
    });
  }

  place(mark, token) {
    mark.hidden = !token || !isAt(token) || timeOf(this.frame, token) !== this.time;
    if (mark.hidden) return;
    const [height, width] = this.canvas.grid;
    mark.style.left = `${(100 * (token.column % width)) / width}%`;
    mark.style.top = `${(100 * token.row) / height}%`;
    mark.style.width = `${100 / width}%`;
    mark.style.height = `${100 / height}%`;
  }
}
