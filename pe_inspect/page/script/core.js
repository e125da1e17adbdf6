// Pure functions: bytes → maps → numbers → words. Nothing here knows a document.

// --- bytes ---------------------------------------------------------------------------------

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function unzipped(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Three planes of bytes, axis by axis, signs in the last bit → token by token.
function rowsOf(table, bytes) {
  const { tokens, channels, step } = table;
  const count = tokens * channels;
  const rows = new Float32Array(count);
  for (let channel = 0; channel < channels; channel++) {
    let code = 0;
    for (let token = 0; token < tokens; token++) {
      const i = channel * tokens + token;
      const folded = bytes[i] | (bytes[count + i] << 8) | (bytes[2 * count + i] << 16);
      const signed = folded & 1 ? -(folded + 1) / 2 : folded / 2;
      code = table.filtered ? code + signed : signed;
      rows[token * channels + channel] = code * step;
    }
  }
  for (const token of table.missing) rows.fill(NaN, token * channels, (token + 1) * channels);
  return rows;
}

function undoDiagonal(map, codes) {
  const n = map.tokens;
  const start = (i) => (map.form === "square" ? i * n : i * n - (i * (i - 1)) / 2 - i);
  for (let i = 1; i < n; i++) {
    const [here, above] = [start(i), start(i - 1)];
    for (let j = map.form === "square" ? 1 : i; j < n; j++) {
      codes[here + j] = (codes[here + j] + codes[above + j - 1]) & 255;
    }
  }
  return codes;
}

// --- what a layer does to its table ----------------------------------------------------------

function weightsOf(packed) {
  const codes = new Int16Array(bytesOf(packed.data).buffer);
  return Float64Array.from(codes, (code) => code * packed.scale);
}

function normed(rows, channels, norm) {
  const gamma = weightsOf(norm.weight);
  const beta = norm.bias && weightsOf(norm.bias);
  const out = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += channels) {
    let sum = 0;
    let squares = 0;
    if (beta) for (let k = 0; k < channels; k++) sum += rows[start + k];
    const mean = sum / channels;
    for (let k = 0; k < channels; k++) squares += (rows[start + k] - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / channels + norm.eps);
    for (let k = 0; k < channels; k++) {
      out[start + k] = (rows[start + k] - mean) * factor * gamma[k] + (beta ? beta[k] : 0);
    }
  }
  return out;
}

// W_h · table · W_wᵀ, channel by channel.
function resampledRows(rows, channels, step) {
  const matrix = ([shape, data]) => [...shape, new Float32Array(bytesOf(data).buffer)];
  const [height, from, tall] = matrix(step.rows);
  const [width, across, wide] = matrix(step.columns ?? step.rows);
  const half = new Float64Array(height * across * channels);
  addProducts(half, rows.subarray(step.skip * channels), tall, [1, height, from, across * channels]);
  const out = new Float64Array(height * width * channels);
  addProducts(out, half, wide, [height, width, across, channels]);
  return Float32Array.from(out);
}

function addProducts(out, values, matrix, [blocks, rows, from, length]) {
  for (let block = 0; block < blocks; block++) {
    for (let row = 0; row < rows; row++) {
      for (let place = 0; place < from; place++) {
        const weight = matrix[row * from + place];
        if (weight === 0) continue;
        const target = (block * rows + row) * length;
        const source = (block * from + place) * length;
        for (let k = 0; k < length; k++) out[target + k] += weight * values[source + k];
      }
    }
  }
}

// --- maps: pair(i, j) and row(i, out), of tokens -----------------------------------------------

function mapOfCodes(map, codes) {
  const n = map.tokens;
  const value = (code) => (code === 255 ? NaN : map.low + map.step * code);
  const at = (i, j) =>
    map.form === "square" ? i * n + j : i <= j ? i * n - (i * (i + 1)) / 2 + j : at(j, i);
  const pair = (i, j) => value(codes[at(i, j)]);
  return { ...measured(map), pair, row: (i, out) => out.forEach((_, j) => (out[j] = pair(i, j))) };
}

function mapOfOffsets(map, codes, [height, width]) {
  const prefix = map.tokens - height * width;
  const margin = (2 * height - 1) * (2 * width - 1);
  const value = (code) => (code === 255 ? NaN : map.low + map.step * code);
  const at = (i, j) => {
    if (i < prefix) return margin + i * map.tokens + j;
    if (j < prefix) return margin + prefix * map.tokens + (i - prefix) * prefix + j;
    const [query, key] = [i - prefix, j - prefix];
    const down = Math.floor(key / width) - Math.floor(query / width) + height - 1;
    return down * (2 * width - 1) + (key % width) - (query % width) + width - 1;
  };
  const pair = (i, j) => value(codes[at(i, j)]);
  return { ...measured(map), pair, row: (i, out) => out.forEach((_, j) => (out[j] = pair(i, j))) };
}

function measured(map) {
  return { error: map.error, low: map.low, high: map.low + 254 * map.step };
}

function mapOfRows(map, rows) {
  const channels = rows.length / map.tokens;
  const lengths = new Float32Array(map.tokens);
  for (let i = 0; i < map.tokens; i++) {
    let squares = 0;
    for (let k = i * channels; k < (i + 1) * channels; k++) squares += rows[k] * rows[k];
    lengths[i] = Math.sqrt(squares);
  }
  const pair = (i, j) => {
    let sum = 0;
    for (let k = 0, a = i * channels, b = j * channels; k < channels; k++) sum += rows[a + k] * rows[b + k];
    const cosine = sum / (lengths[i] * lengths[j]);
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
  };
  const row = (i, out) => {
    for (let j = 0; j < out.length; j++) out[j] = pair(i, j);
  };
  return { error: map.error, low: -1, high: 1, lengths, pair, row };
}

// --- frames: heads, metrics, patches -----------------------------------------------------------

const METRICS = {
  cosine: (cosine) => cosine,
  dot: (cosine, a, b) => cosine * a * b,
  l2: (cosine, a, b) => Math.sqrt(Math.max(a * a + b * b - 2 * a * b * cosine, 0)),
};

// The maps of one head, or those of all heads (head −1).
function mapsOf(frame, head) {
  return head < 0 || head >= frame.maps.length ? frame.maps : [frame.maps[head]];
}

// The value of two tokens: of one head, or the mean over heads.
function pairValue(frame, i, j, { head = -1, metric = "cosine" } = {}) {
  const maps = mapsOf(frame, head);
  const mean = maps.reduce((sum, map) => sum + map.pair(i, j), 0) / maps.length;
  if (metric === "cosine") return mean;
  return METRICS[metric](mean, frame.lengths[i], frame.lengths[j]);
}

// The map of one token: prefix tokens first, then patches row by row.
function tokenMap(frame, i, { head = -1, metric = "cosine" } = {}) {
  const out = new Float32Array(frame.tokens);
  const maps = mapsOf(frame, head);
  const one = maps.length > 1 ? new Float32Array(frame.tokens) : out;
  for (const map of maps) {
    map.row(i, one);
    if (one !== out) for (let j = 0; j < out.length; j++) out[j] += one[j] / maps.length;
  }
  if (metric !== "cosine") {
    const { lengths } = frame;
    for (let j = 0; j < out.length; j++) out[j] = METRICS[metric](out[j], lengths[i], lengths[j]);
  }
  return out;
}

// How far a shown value may be from the exact one: the cosine is off by its map's error, and each
// vector's end by the error of its length, which moves a distance by that, twice at most.
function pairError(frame, i, j, { head = -1, metric = "cosine" } = {}) {
  const off = Math.max(...mapsOf(frame, head).map((map) => map.error));
  if (metric === "cosine") return off;
  const [a, b, slack] = [frame.lengths[i], frame.lengths[j], frame.lengthError];
  const cosine = frame.maps[0].pair(i, j);
  const at = (place) => METRICS[metric](Math.min(Math.max(place, -1), 1), a, b);
  const turned = Math.max(...[cosine - off, cosine + off].map((end) => Math.abs(at(end) - at(cosine))));
  return turned + slack * (metric === "l2" ? 2 : a + b + slack);
}

// The largest of a token's whole map.
function rowError(frame, i, choice) {
  if ((choice.metric ?? "cosine") === "cosine") return pairError(frame, i, i, choice);
  let worst = 0;
  for (let j = 0; j < frame.tokens; j++) worst = Math.max(worst, pairError(frame, i, j, choice) || 0);
  return worst;
}

// The patch of another grid that covers the centre of this one.
function covering({ row, column, grid }, [height, width]) {
  const place = (at, from, to) => Math.floor(((2 * at + 1) * to) / (2 * from));
  return { row: place(row, grid[0], height), column: place(column, grid[1], width), grid: [height, width] };
}

// A map on another grid: bilinear between patch centres, the border held.
function onGrid(values, [height, width], [rows, columns]) {
  const out = new Float32Array(rows * columns);
  const spot = (k, to, from) => Math.min(Math.max(((k + 0.5) * from) / to - 0.5, 0), from - 1);
  for (let r = 0; r < rows; r++) {
    const y = spot(r, rows, height);
    const [top, low] = [Math.floor(y), Math.min(Math.floor(y) + 1, height - 1)];
    for (let c = 0; c < columns; c++) {
      const x = spot(c, columns, width);
      const [left, right] = [Math.floor(x), Math.min(Math.floor(x) + 1, width - 1)];
      const mix = (a, b, t) => (t === 0 ? a : a * (1 - t) + b * t);
      const above = mix(values[top * width + left], values[top * width + right], x - left);
      const below = mix(values[low * width + left], values[low * width + right], x - left);
      out[r * columns + c] = mix(above, below, y - top);
    }
  }
  return out;
}

// Is it the same elsewhere? The value of every pair of patches with one offset.
function offsetStatistics(frame, from, to, choice) {
  const [height, width] = [frame.grid[0], frame.grid[1] / frame.times];
  const [[fromTime, fromColumn], [toTime, toColumn]] = [from, to].map(({ column }) => [Math.floor(column / width), column % width]);
  const [down, right, later] = [to.row - from.row, toColumn - fromColumn, toTime - fromTime];
  const index = (r, c, t) => frame.prefix.length + r * frame.grid[1] + t * width + c;
  const values = [];
  for (let r = Math.max(0, -down); r < Math.min(height, height - down); r++) {
    for (let c = Math.max(0, -right); c < Math.min(width, width - right); c++) {
      for (let t = Math.max(0, -later); t < Math.min(frame.times, frame.times - later); t++) {
        values.push(pairValue(frame, index(r, c, t), index(r + down, c + right, t + later), choice));
      }
    }
  }
  return spread(values);
}

function spread(values) {
  const known = [...values].filter(Number.isFinite);
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / known.length;
  const ends = known.length ? [Math.min(...known), Math.max(...known)] : [NaN, NaN];
  return { count: known.length, mean, deviation: Math.sqrt(variance), low: ends[0], high: ends[1] };
}

// --- colours -----------------------------------------------------------------------------------

// A scale is {low, high, palette}: signed values stay centred at zero.
function scaleOf(low, high) {
  if (!(high >= low)) return { low: 0, high: 1, palette: "sequential" };
  if (low >= 0 || high <= 0) {
    return { low, high: high > low ? high : low + 1e-6, palette: "sequential" };
  }
  const limit = Math.max(-low, high);
  return { low: -limit, high: limit, palette: "diverging" };
}

function paint(values, pixels, { low, high }, palette) {
  const factor = 255.999 / (high - low || 1);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== value) {
      pixels[4 * i + 3] = 0;
      continue;
    }
    const level = Math.min(Math.max(((value - low) * factor) | 0, 0), 255);
    pixels[4 * i] = palette[3 * level];
    pixels[4 * i + 1] = palette[3 * level + 1];
    pixels[4 * i + 2] = palette[3 * level + 2];
    pixels[4 * i + 3] = 255;
  }
}

// --- words -------------------------------------------------------------------------------------

function shown(value, digits = 3) {
  if (!Number.isFinite(value)) return "undefined";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : value.toFixed(size < 10 ? digits : size < 1000 ? 1 : 0);
  return (Number(text) === 0 ? text.replace("-", "") : text).replaceAll("-", "−");
}

// Five equal steps of a scale, in digits enough that equal steps look equal: a thousandth of one.
function ticksOf({ low, high }) {
  const step = (high - low) / 4;
  const digits = Math.min(Math.max(3 - Math.ceil(Math.log10(step)), 0), 12);
  const text = (value) => String(Number(value.toFixed(digits))).replaceAll("-", "−");
  return [0, 1, 2, 3, 4].map((k) => text(low + k * step));
}

// A limit in words, never below it: two digits that count.
function bound(value) {
  if (!(value > 0 && value < Infinity)) return shown(value, 4);
  const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
  const above = Math.ceil(value / unit - 1e-6) * unit;
  return above < 1e-3 ? shown(above) : String(Number(above.toPrecision(2)));
}

function signed(value) {
  return value > 0 ? `+${value}` : String(value).replace("-", "−");
}

// --- links: #layer=7&patch=6,6&grid=24x24 --------------------------------------------------------

function parseLink(hash) {
  if (!hash.includes("=")) return {};
  const pairs = hash.replace(/^#/, "").split("&").map((part) => part.split("="));
  const read = (text) => {
    try {
      return decodeURIComponent(text.replace(/\+/g, " "));
    } catch {
      return text;
    }
  };
  return Object.fromEntries(pairs.filter((pair) => pair.length === 2).map(([key, text]) => [key, read(text)]));
}

function formatLink(values) {
  const said = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return "#" + said.map(([key, value]) => `${key}=${encodeURIComponent(value).replace(/%2C/g, ",")}`).join("&");
}

// A frame by its name, by the number in its name, by its grid, or by its place.
function frameNamed(frames, word) {
  const names = frames.map((frame) => frame.name);
  const exact = names.indexOf(String(word).replace("x", "×"));
  if (exact >= 0 || names.includes(word)) return exact >= 0 ? exact : names.indexOf(word);
  if (!/^\d+$/.test(word)) return -1;
  const numbered = names.findIndex((name) => Number((name.match(/\d+/g) || []).pop()) === Number(word));
  return numbered >= 0 ? numbered : Number(word) < frames.length ? Number(word) : -1;
}

function linkWord(frames, index) {
  const name = frames[index].name;
  const number = (name.match(/\d+/g) || []).pop();
  if (/^\d+×\d+$/.test(name)) return name.replace("×", "x");
  return number !== undefined && frameNamed(frames, number) === index ? number : name;
}

function parsePatch(text, [height, width]) {
  const match = /^(\d+),(\d+)$/.exec(text || "");
  if (!match) return null;
  const [row, column] = [Number(match[1]), Number(match[2])];
  return row < height && column < width ? { row, column, grid: [height, width] } : null;
}

// --- files -------------------------------------------------------------------------------------

function npy(values, shape) {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${tuple}), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
  const head = new Uint8Array(10 + header.length);
  head.set([0x93, 78, 85, 77, 80, 89, 1, 0, header.length & 255, header.length >> 8]);
  for (let i = 0; i < header.length; i++) head[10 + i] = header.charCodeAt(i);
  return [head, new Float32Array(values).buffer];
}

function csv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
    const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
