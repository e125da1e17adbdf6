// Elements, canvases, files: the only helpers that know a document.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function labelled(text, control) {
  return make("label", { className: "control" }, make("span", {}, text), control);
}

function chooser(text, options, onchange) {
  const items = options.map(([value, label]) => make("option", { value }, label));
  const control = make("select", { onchange: () => onchange(control.value) }, ...items);
  const box = labelled(text, control);
  box.choose = (value) => (control.value = value);
  return box;
}

function canvasOf(width, height, properties = {}) {
  return make("canvas", { width, height, ...properties });
}

// Draws maps of one shape: one image, painted again and again.
class MapCanvas {
  constructor([height, width]) {
    this.grid = [height, width];
    this.element = canvasOf(width, height, { className: "map" });
    this.element.setAttribute("aria-hidden", "true");
    this.context = this.element.getContext("2d");
    this.image = this.context.createImageData(width, height);
  }

  draw(values, scale, palettes) {
    paint(values, this.image.data, scale, palettes[scale.palette]);
    this.context.putImageData(this.image, 0, 0);
  }
}

function drawScale(canvas, scale, palettes) {
  const context = canvas.getContext("2d");
  const steps = Float32Array.from({ length: canvas.width }, (_, k) => scale.low + ((scale.high - scale.low) * k) / (canvas.width - 1));
  const image = context.createImageData(canvas.width, 1);
  paint(steps, image.data, scale, palettes[scale.palette]);
  for (let y = 0; y < canvas.height; y++) context.putImageData(image, 0, y);
}

function download(name, type, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function downloadCanvas(name, canvas) {
  canvas.toBlob((blob) => download(name, "image/png", [blob]), "image/png");
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// What is on the screen as one picture: title, large maps, their scale, all small maps.
function pictureOf({ title, subtitle, planes, scale, ticks, small, palettes }) {
  const [side, gap, cell] = [360, 24, 84];
  const columns = Math.max(Math.floor((planes.length * (side + gap)) / (cell + 12)), 6);
  const width = Math.max(planes.length * (side + gap) + gap, columns * (cell + 12) + 2 * gap);
  const lines = Math.ceil(small.length / columns);
  const canvas = canvasOf(2 * width, 2 * (side + 190 + lines * (cell + 26)));
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, canvas.height);
  context.imageSmoothingEnabled = false;
  const write = (text, x, y, font = "12px", colour = "#1c2025") => {
    context.fillStyle = colour;
    context.font = `${font} system-ui, sans-serif`;
    context.fillText(text, x, y);
  };
  write(title, gap, 30, "600 16px");
  write(subtitle, gap, 50, "12px", "#5a626b");
  planes.forEach(({ source, label }, k) => fitted(context, source, gap + k * (side + gap), 84, side, () => write(label, gap + k * (side + gap), 76)));
  const bar = canvasOf(256, 1);
  drawScale(bar, scale, palettes);
  context.drawImage(bar, gap, side + 96, side, 12);
  ticks.forEach((tick, k) => write(tick, gap + (k * (side - 24)) / (ticks.length - 1), side + 124, "11px"));
  small.forEach(({ source, label }, k) => {
    const [x, y] = [gap + (k % columns) * (cell + 12), side + 150 + Math.floor(k / columns) * (cell + 26)];
    fitted(context, source, x, y + 14, cell, () => write(label.slice(0, 14), x, y + 9, "10px"));
  });
  return canvas;
}

function fitted(context, source, x, y, side, write) {
  const factor = side / Math.max(source.width, source.height);
  write();
  context.fillStyle = "#d8d8d8";
  context.fillRect(x, y, source.width * factor, source.height * factor);
  context.drawImage(source, x, y, source.width * factor, source.height * factor);
}
