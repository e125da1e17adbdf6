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

  get picture() {
    return this.element;
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
