// A map of T frames, side by side in the columns of its grid: one frame large, all in a row, a slider each.

// How wide one frame is.
function widthOf({ grid, times }) {
  return grid[1] / times;
}

function timeOf(frame, token) {
  return Math.floor(token.column / widthOf(frame));
}

// The same place in another of the frames.
function atTime(frame, token, time) {
  const width = widthOf(frame);
  return { ...token, column: time * width + (token.column % width), grid: frame.grid };
}

// The patches of one frame, of those of all.
function patchesAt({ grid, times }, values, time) {
  if (times === 1) return values;
  const width = grid[1] / times;
  const out = new Float32Array(grid[0] * width);
  for (let row = 0; row < grid[0]; row++) {
    const from = row * grid[1] + time * width;
    out.set(values.subarray(from, from + width), row * width);
  }
  return out;
}

// All frames of a map in a row; where they can be chosen, each is a button.
class Film {
  constructor(frame, choose) {
    const { times, grid } = frame;
    this.frame = frame;
    this.maps = Array.from({ length: times }, () => new MapCanvas([grid[0], widthOf(frame)]));
    this.whole = new MapCanvas(grid);
    this.items = this.maps.map((map, time) => (choose ? this.button(map, time, choose) : map.element));
    this.element = make("div", { className: choose ? "film is-chosen" : "film" }, ...this.items);
    if (!choose) return;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Frames");
  }

  button(map, time, choose) {
    return make("button", { type: "button", className: "small-map", onclick: () => choose(time) }, map.element, make("span"));
  }

  // What a picture is made of: the frames as they lie in the map's grid.
  get picture() {
    return this.whole.element;
  }

  draw(values, scale, palettes) {
    this.whole.draw(values, scale, palettes);
    this.maps.forEach((map, time) => map.draw(patchesAt(this.frame, values, time), scale, palettes));
  }

  // The frame that is shown large, and that of the query.
  mark(shownTime, queryTime) {
    this.items.forEach((item, time) => {
      item.setAttribute("aria-pressed", String(time === shownTime));
      item.lastChild.textContent = time === queryTime ? "query" : String(time);
      item.setAttribute("aria-label", `frame ${time}${time === queryTime ? ", that of the query" : ""}`);
    });
  }
}

// --- controls: the query's frame, and the one whose keys are shown large

function timeControls(explorer) {
  if (!explorer.tracks.some((track) => track.frames.some((frame) => frame.times > 1))) return [];
  const query = timeSlider(explorer, "query's frame", (time) => explorer.moveQuery(time), () => explorer.queryTime);
  const keys = timeSlider(explorer, "frame shown", (time) => explorer.showTime(time), () => explorer.time);
  return [query, keys];
}

function timeSlider(explorer, text, choose, chosen) {
  const slider = make("input", { type: "range", min: 0, step: 1, oninput: () => choose(Number(slider.value)) });
  const name = make("output");
  const box = labelled(text, slider);
  box.classList.add("slider");
  box.append(name);
  box.sync = () => {
    const { times } = explorer.frame;
    slider.max = times - 1;
    slider.value = chosen();
    slider.disabled = times < 2;
    name.textContent = `${chosen()} of 0–${times - 1}`;
    slider.setAttribute("aria-valuetext", `frame ${name.textContent}`);
  };
  return box;
}
