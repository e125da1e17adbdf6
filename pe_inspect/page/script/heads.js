// All heads of a model as small maps by offset: the one that is pointed at is shown large.

class HeadSheet {
  constructor(data, codes, root) {
    Object.assign(this, { data, root, palettes: { sequential: bytesOf(data.palette) } });
    this.scale = { low: 0, high: 1, palette: "sequential" };
    this.heads = headsOf(data, codes);
    this.build();
  }

  build() {
    this.name = make("p", { className: "about" });
    this.said = make("p", {});
    this.numbers = make("dl", { className: "head-numbers" });
    this.stage = make("div", { className: "stage" });
    this.offset = make("p", { className: "hint" }, "Point at an offset to read its attention.");
    const bar = canvasOf(256, 10, { className: "scale-bar" });
    bar.setAttribute("aria-hidden", "true");
    drawScale(bar, this.scale, this.palettes);
    const ticks = make("p", { className: "ticks" }, ...logTicks(this.data).map((text) => make("span", {}, text)));
    const scale = make("div", { className: "scale" }, bar, ticks);
    scale.dataset.label = "attention to the patch at an offset, logarithmic";
    this.rows = make("div", { className: "head-rows", role: "group" });
    this.rows.setAttribute("aria-label", "All heads, by block");
    this.rows.append(...this.data.blocks.map((block, b) => this.rowOf(block, b)));
    this.rows.addEventListener("keydown", (event) => this.move(event));
    const readout = make("div", { className: "readout", role: "status" }, this.name, this.said, this.numbers);
    const large = make("div", { className: "large" }, this.stage, this.offset, scale, readout);
    this.root.replaceChildren(make("div", { className: "panes" }, large, this.rows), make("p", { className: "view-notes" }, this.data.note));
    this.root.hidden = false;
    this.show(this.heads.find((head) => head.word === "offset") ?? this.heads[0]);
  }

  rowOf(block, b) {
    const buttons = this.heads.filter((head) => head.block === b).map((head) => this.button(head));
    return make("div", { className: "head-row" }, make("span", { className: "head-block" }, block.name.replace("blocks.", "")), ...buttons);
  }

  button(head) {
    const map = new MapCanvas(head.grid);
    map.draw(head.values, this.scale, this.palettes);
    const item = make("button", { type: "button", className: `small-map ${head.word}`, tabIndex: -1, title: `${head.name}: ${head.said}` }, map.element);
    item.setAttribute("aria-label", `${head.name}: ${head.said}`);
    item.addEventListener("pointerenter", () => this.pinned || this.show(head));
    item.addEventListener("focus", () => this.show(head));
    item.addEventListener("click", () => {
      this.pinned = this.pinned === head ? null : head;
      this.show(head);
    });
    return (head.item = item);
  }

  show(head) {
    if (this.shown) Object.assign(this.shown.item, { tabIndex: -1 }).setAttribute("aria-pressed", "false");
    this.shown = head;
    head.item.tabIndex = 0;
    head.item.setAttribute("aria-pressed", "true");
    this.name.replaceChildren(make("strong", {}, head.name));
    this.said.textContent = head.said;
    this.numbers.replaceChildren(...head.numbers.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
    this.stage.replaceChildren(this.largeOf(head));
  }

  largeOf(head) {
    const [rows, columns] = head.grid;
    const map = new MapCanvas(head.grid);
    map.draw(head.values, this.scale, this.palettes);
    const field = make("div", { className: "head-field" }, map.element);
    field.style.aspectRatio = `${columns} / ${rows}`;
    field.addEventListener("pointermove", (event) => {
      const box = field.getBoundingClientRect();
      const row = Math.min(Math.floor(((event.clientY - box.top) / box.height) * rows), rows - 1);
      const column = Math.min(Math.floor(((event.clientX - box.left) / box.width) * columns), columns - 1);
      if (row >= 0 && column >= 0) this.offset.textContent = offsetText(head, row, column, this.data);
    });
    return field;
  }

  move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const rows = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step && !rows) return;
    event.preventDefault();
    const { block, head } = this.shown;
    const next = step ? this.heads[this.heads.indexOf(this.shown) + step] : this.nearest(block + rows, head);
    if (next) next.item.focus();
  }

  nearest(block, head) {
    const row = this.heads.filter((one) => one.block === block);
    return row[Math.min(head, row.length - 1)];
  }
}

// Codes → for each head where it stands, its words, and its profile as shares of the scale.
function headsOf(data, codes) {
  let at = 0;
  return data.blocks.flatMap((block, b) => block.heads.map((told, h) => {
    const count = block.grid[0] * block.grid[1];
    const values = Float32Array.from(codes.subarray(at, at + count), (code) => (code === 255 ? NaN : code / 254));
    at += count;
    return { ...told, block: b, head: h, name: `${block.name} head ${h}`, grid: block.grid, values };
  }));
}

function offsetText({ grid, values }, row, column, { low, high }) {
  const [dy, dx] = [row - (grid[0] >> 1), column - (grid[1] >> 1)];
  const share = values[row * grid[1] + column];
  const down = dy ? `${Math.abs(dy)} ${dy > 0 ? "down" : "up"}` : "";
  const right = dx ? `${Math.abs(dx)} ${dx > 0 ? "right" : "left"}` : "";
  const where = [down, right].filter(Boolean).join(", ") || "the patch itself";
  if (Number.isNaN(share)) return `${where}: no pair of patches`;
  const value = low * (high / low) ** share;
  return `${where}: ${share === 0 ? "at most " : ""}${value.toPrecision(2)}`;
}

function logTicks({ low, high }) {
  return [0, 0.25, 0.5, 0.75, 1].map((share) => Number((low * (high / low) ** share).toPrecision(2)).toString());
}

async function startHeads() {
  for (const element of document.querySelectorAll("script.heads-data")) {
    const data = JSON.parse(element.textContent);
    const root = document.getElementById(element.dataset.root);
    new HeadSheet(data, await unzipped(data.codes), root);
  }
}
