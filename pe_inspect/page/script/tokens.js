// What a map is of: a patch {row, column, grid}, of the grid that it was chosen on, or a prefix token {prefix: name}.

function isAt(token) {
  return token.prefix === undefined;
}

// A frame's own token for one chosen anywhere; null where it has no such prefix token.
function tokenOf(frame, token) {
  if (!token || isAt(token)) return token && covering(token, frame.grid);
  return frame.prefix.includes(token.prefix) ? token : null;
}

function indexOf(frame, token) {
  if (!isAt(token)) return frame.prefix.indexOf(token.prefix);
  return frame.prefix.length + token.row * frame.grid[1] + token.column;
}

function patchOf(frame, index) {
  const place = index - frame.prefix.length;
  return { row: Math.floor(place / frame.grid[1]), column: place % frame.grid[1], grid: frame.grid };
}

function wholeGrid(frame) {
  return frame.thinnedFrom ?? frame.grid;
}

// (row, column) among all patches that there were: a page may hold every second one.
function placeOf({ kept }, { row, column }) {
  return kept ? [kept[0][row], kept[1][column]] : [row, column];
}

// (rows down, columns right, frames later).
function offsetOf(frame, query, key) {
  const [from, to] = [query, key].map((token) => placeInFrame(frame, token));
  return to.map((at, axis) => at - from[axis]);
}

// (row, column, frame) among all patches that there were.
function placeInFrame(frame, token) {
  const [row, column] = placeOf(frame, token);
  const width = wholeGrid(frame)[1] / frame.times;
  return [row, column % width, Math.floor(column / width)];
}

// How far it is on the plane, and in frames where there are several: their steps are not patches.
function distanceWords(frame, [down, right, later]) {
  const on = `${shown(Math.hypot(down, right), 2)} patches`;
  return frame.times > 1 ? `${on} and ${signed(later)} frames` : on;
}

function tokenName(frame, token) {
  if (!isAt(token)) return token.prefix;
  const [row, column, time] = placeInFrame(frame, token);
  return `${frame.times > 1 ? `frame ${time}, ` : ""}row ${row}, column ${column}`;
}

function samePlace(a, b) {
  return Boolean(a && b) && a.prefix === b.prefix && a.row === b.row && a.column === b.column;
}

// One step on the grid; above its first row are the prefix tokens.
function stepped(frame, token, [down, right]) {
  const [height, width] = frame.grid;
  const clip = (place, count) => Math.min(Math.max(place, 0), count - 1);
  if (!isAt(token)) {
    if (down > 0) return { row: 0, column: 0, grid: frame.grid };
    return { prefix: frame.prefix[clip(indexOf(frame, token) + right, frame.prefix.length)] };
  }
  if (token.row + down < 0 && frame.prefix.length) return { prefix: frame.prefix[0] };
  const [within, side] = [token.column % (width / frame.times), width / frame.times];
  const column = token.column - within + clip(within + right, side);
  return { row: clip(token.row + down, height), column, grid: frame.grid };
}

// One map minus another, the other brought to the first one's grid where they differ.
function subtracted(own, other, frame, from) {
  const [p, q] = [frame.prefix.length, from.prefix.length];
  const same = frame.grid.join() === from.grid.join();
  const patches = same ? other.subarray(q) : onGrid(other.subarray(q), from.grid, frame.grid);
  const prefix = frame.prefix.map((name) => other[from.prefix.indexOf(name)] ?? NaN);
  return own.map((value, index) => value - (index < p ? prefix[index] : patches[index - p]));
}
