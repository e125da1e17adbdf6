// What is on the screen as one picture: what it is, large maps, their scale, all small maps track by track.

const LARGE = 360;
const SMALL = 84;
const GAP = 24;
const STEP = SMALL + 12;
const LINE = SMALL + 26;
const INK = "#1c2025";

function pictureOf({ lines, planes, rows, scale, ticks, palettes }) {
  const columns = Math.max(Math.floor((planes.length * (LARGE + GAP)) / STEP), 6);
  const width = Math.max(planes.length * (LARGE + GAP), columns * STEP + GAP) + GAP;
  const heights = rows.map(({ items, label }) => Math.ceil(items.length / columns) * LINE + (label ? 22 : 0));
  const top = 44 + 18 * lines.length;
  const canvas = canvasOf(2 * width, 2 * (top + LARGE + 86 + heights.reduce((sum, height) => sum + height, 0)));
  const context = opened(canvas);
  lines.forEach((text, k) => write(context, text, [GAP, 30 + 18 * k], width - 2 * GAP, k ? "12px" : "600 16px"));
  planes.forEach((plane, k) => drawLarge(context, plane, GAP + k * (LARGE + GAP), top));
  drawTicks(context, top + LARGE + 28, { scale, ticks, palettes });
  rows.forEach((row, k) => {
    const above = heights.slice(0, k).reduce((sum, height) => sum + height, 0);
    drawRow(context, row, top + LARGE + 80 + above, columns);
  });
  return canvas;
}

function opened(canvas) {
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  return context;
}

// A name that is too long loses its beginning: names of layers differ at their ends.
function write(context, text, [x, y], room, font = "12px") {
  context.fillStyle = INK;
  context.font = `${font} system-ui, sans-serif`;
  let said = text;
  while (said.length > 2 && context.measureText(said).width > room) said = `…${said.slice(2)}`;
  context.fillText(said, x, y);
}

function drawLarge(context, { source, label, mark }, x, y) {
  write(context, label, [x, y], LARGE);
  const factor = drawMap(context, source, [x, y + 8], LARGE);
  if (!mark || !isAt(mark)) return;
  const box = [x + mark.column * factor, y + 8 + mark.row * factor, factor, factor];
  for (const [colour, line] of [["#000", 4], ["#fff", 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: line });
    context.strokeRect(...box);
  }
}

function drawMap(context, source, [x, y], side) {
  const factor = side / Math.max(source.width, source.height);
  context.fillStyle = "#d8d8d8";
  context.fillRect(x, y, source.width * factor, source.height * factor);
  context.drawImage(source, x, y, source.width * factor, source.height * factor);
  return factor;
}

function drawTicks(context, y, { scale, ticks, palettes }) {
  const bar = canvasOf(256, 1);
  drawScale(bar, scale, palettes);
  context.drawImage(bar, GAP, y, LARGE, 12);
  ticks.forEach((tick, k) => write(context, tick, [GAP + (k * (LARGE - 24)) / (ticks.length - 1), y + 28], LARGE, "11px"));
}

function drawRow(context, { label, items }, y, columns) {
  if (label) write(context, label, [GAP, y + 4], columns * STEP, "600 12px");
  const top = y + (label ? 22 : 0);
  items.forEach((item, k) => {
    const [x, below] = [GAP + (k % columns) * STEP, top + Math.floor(k / columns) * LINE];
    write(context, item.label, [x, below], SMALL, "10px");
    drawMap(context, item.source, [x, below + 5], SMALL);
  });
}
