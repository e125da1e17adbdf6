// The page's pure functions under Node, against loops and definitions.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const read = (name) => readFileSync(new URL(`../../../pe_inspect/page/script/${name}.js`, import.meta.url), "utf8");
const source = ["core", "tokens", "film"].map(read).join("\n");
const names = [...source.matchAll(/^(?:async )?function (\w+)/gm)].map((found) => found[1]);
const core = new Function(`${source}; return { ${names.join(", ")} };`)();

test("a link is read as it was written", () => {
  const values = { layer: "blocks 7&x=1", patch: "6,6", grid: "24x24", head: "" };
  const link = core.formatLink(values);
  assert.match(link, /patch=6,6&grid=24x24$/);
  assert.deepEqual({ ...core.parseLink(link), head: "" }, values);
  assert.deepEqual(core.parseLink("#similarity"), {});
  assert.deepEqual(core.parseLink("#%=%E0&a=%"), { "%": "%E0", a: "%" });
});

test("a frame is found by its name, its number, its grid or its place", () => {
  const frames = ["blocks.0", "blocks.2", "norm"].map((name) => ({ name }));
  assert.equal(core.frameNamed(frames, "norm"), 2);
  assert.equal(core.frameNamed(frames, "2"), 1);
  assert.equal(core.frameNamed(frames, "1"), 1);
  assert.equal(core.frameNamed(frames, "9"), -1);
  assert.equal(core.frameNamed(frames, "evil"), -1);
  assert.equal(core.frameNamed([{ name: "7×9" }, { name: "14×9" }], "14x9"), 1);
  assert.equal(core.linkWord([{ name: "7×9" }], 0), "7x9");
});

test("a patch outside the grid is none", () => {
  assert.deepEqual(core.parsePatch("2,3", [3, 4]), { row: 2, column: 3, grid: [3, 4] });
  for (const text of ["3,0", "0,4", "-1,0", "a,b", "1", "", undefined]) {
    assert.equal(core.parsePatch(text, [3, 4]), null);
  }
});

test("an upper triangle gives both halves of a map", () => {
  const codes = Uint8Array.from([0, 1, 2, 3, 4, 255]);
  const map = core.mapOfCodes({ form: "triangle", tokens: 3, low: -1, step: 0.5, error: 0 }, codes);
  const rows = [0, 1, 2].map((i) => [...(() => { const out = new Float32Array(3); map.row(i, out); return out; })()]);
  assert.deepEqual(rows, [[-1, -0.5, 0], [-0.5, 0.5, 1], [0, 1, NaN]]);
});

test("differences along the diagonal are undone", () => {
  const codes = Uint8Array.from([5, 6, 7, 1, 255, 3]);
  assert.deepEqual([...core.undoDiagonal({ form: "triangle", tokens: 3 }, codes)], [5, 6, 7, 6, 5, 9]);
  const square = Uint8Array.from([1, 2, 3, 4]);
  assert.deepEqual([...core.undoDiagonal({ form: "square", tokens: 2 }, square)], [1, 2, 3, 5]);
});

test("a table of offsets depends on the offset alone", () => {
  const [height, width] = [2, 3];
  const codes = Uint8Array.from({ length: 15 }, (_, k) => k);
  const map = core.mapOfOffsets({ form: "offsets", tokens: 6, low: 0, step: 1, error: 0 }, codes, [height, width]);
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 6; j++) {
      const down = Math.floor(j / 3) - Math.floor(i / 3);
      assert.equal(map.pair(i, j), (down + 1) * 5 + (j % 3) - (i % 3) + 2);
    }
  }
});

test("every pair with one offset is counted once", () => {
  const pair = (i, j) => i * 100 + j;
  const frame = { grid: [3, 4], times: 1, prefix: ["CLS"], tokens: 13, maps: [{ pair }] };
  const found = core.offsetStatistics(frame, { row: 2, column: 3 }, { row: 1, column: 3 }, {});
  const values = [];
  for (let r = 1; r < 3; r++) for (let c = 0; c < 4; c++) values.push(pair(1 + 4 * r + c, 1 + 4 * (r - 1) + c));
  assert.equal(found.count, 8);
  assert.equal(found.mean, values.reduce((a, b) => a + b) / 8);
});

test("the error of products and distances covers whatever the exact vectors may be", () => {
  const off = 0.004;
  const slack = 0.02;
  const lengths = [2, 3, 2];
  const cosines = [[1, 0.3, 0.999], [0.3, 1, -1], [0.999, -1, 1]];
  const maps = [{ error: off, pair: (i, j) => cosines[i][j] }];
  const frame = { maps, lengths, lengthError: slack, tokens: 3 };
  const exact = { dot: (c, a, b) => c * a * b, l2: (c, a, b) => Math.sqrt(a * a + b * b - 2 * a * b * c) };
  assert.equal(core.pairError(frame, 0, 1), off);
  for (const metric of ["dot", "l2"]) {
    const worst = [0, 1, 2].map((j) => {
      const stated = core.pairError(frame, 0, j, { metric });
      const value = exact[metric](cosines[0][j], lengths[0], lengths[j]);
      for (const [x, y, z] of [[1, 1, 1], [1, -1, 1], [-1, 1, -1], [-1, -1, -1], [-1, 1, 1], [1, -1, -1], [0, 1, -1]]) {
        const cosine = Math.min(Math.max(cosines[0][j] + x * off, -1), 1);
        const other = exact[metric](cosine, lengths[0] + y * slack, lengths[j] + z * slack);
        assert.ok(Math.abs(other - value) <= stated * (1 + 1e-9), `${metric} ${j}`);
      }
      return stated;
    });
    assert.equal(core.rowError(frame, 0, { metric }), Math.max(...worst));
  }
});

test("a constant and a slope survive a change of grid", () => {
  const flat = new Float32Array(12).fill(3);
  assert.deepEqual([...core.onGrid(flat, [3, 4], [5, 7])], new Array(35).fill(3));
  const slope = Float32Array.from({ length: 12 }, (_, k) => k % 4);
  assert.deepEqual([...core.onGrid(slope, [3, 4], [3, 4])], [...slope]);
  assert.deepEqual([...core.onGrid(slope, [3, 4], [1, 2])], [0.5, 2.5]);
});

test("signed scales are centred at zero, unsigned ones are not", () => {
  assert.deepEqual(core.scaleOf(-0.2, 0.7), { low: -0.7, high: 0.7, palette: "diverging" });
  assert.deepEqual(core.scaleOf(0.2, 0.7), { low: 0.2, high: 0.7, palette: "sequential" });
  assert.equal(core.scaleOf(Infinity, -Infinity).palette, "sequential");
});

test("colours go from end to end, and what is undefined is transparent", () => {
  const palette = Uint8Array.from({ length: 768 }, (_, k) => Math.floor(k / 3));
  const pixels = new Uint8ClampedArray(20);
  core.paint(Float32Array.from([-1, 0, 1, 5, NaN]), pixels, { low: -1, high: 1 }, palette);
  assert.deepEqual([0, 4, 8, 12].map((k) => pixels[k]), [0, 127, 255, 255]);
  assert.equal(pixels[19], 0);
});

test("numbers are written with a true minus and without a minus zero", () => {
  assert.equal(core.shown(-0.5), "−0.500");
  assert.equal(core.shown(-0), "0.000");
  assert.equal(core.shown(-0.0001), "−1.00e−4");
  assert.equal(core.shown(NaN), "undefined");
});

test("a stated limit is never below the error", () => {
  const values = [0.00244, 0.0029, 0.003, 0.0123, 0.5, 1, 3.14159, 42.01, 9.21e-5];
  for (const value of values) {
    const said = Number(core.bound(value).replaceAll("−", "-"));
    assert.ok(said >= value * (1 - 1e-9) && said <= value * 1.12, `${value} as ${said}`);
  }
  assert.equal(core.bound(0), "0.0000");
});

const thinned = { prefix: ["CLS", "DIST"], grid: [2, 3], times: 1, thinnedFrom: [5, 7], kept: [[1, 3], [1, 3, 5]] };
const whole = { prefix: ["register 1", "CLS"], grid: [4, 6], times: 1 };

test("patches of a thinned map are called what they are", () => {
  const [query, key] = [core.patchOf(thinned, 2), core.patchOf(thinned, 7)];
  assert.equal(core.tokenName(thinned, query), "row 1, column 1");
  assert.equal(core.tokenName(thinned, key), "row 3, column 5");
  assert.deepEqual(core.offsetOf(thinned, query, key), [2, 4, 0]);
  const again = core.tokenOf(thinned, { row: 3, column: 5, grid: [5, 7] });
  assert.equal(core.indexOf(thinned, again), 7);
});

test("prefix tokens are matched by name, and some frames have none", () => {
  assert.equal(core.indexOf(thinned, { prefix: "CLS" }), 0);
  assert.equal(core.indexOf(whole, { prefix: "CLS" }), 1);
  assert.equal(core.tokenOf(whole, { prefix: "DIST" }), null);
  assert.equal(core.tokenOf(whole, null), null);
});

test("a difference meets prefix tokens by name and patches where they lie", () => {
  const [a, b] = [{ prefix: ["CLS", "DIST"], grid: [1, 2] }, { prefix: ["CLS"], grid: [1, 2] }];
  const found = core.subtracted(Float32Array.of(1, 2, 3, 4), Float32Array.of(0.5, 1, 1), a, b);
  assert.deepEqual([...found], [0.5, NaN, 2, 3]);
});

test("a cell of a spreadsheet never begins a formula", () => {
  assert.equal(core.csv([["a,b", '"', "=1+1", -0.5, "-0.5", NaN, null]]), '"a,b","""",\'=1+1,-0.5,-0.5,,\r\n');
});

test("an npy file has a header of whole lines", () => {
  const [head, values] = core.npy([1, 2, 3, 4, 5, 6], [1, 2, 3]);
  assert.equal(head.length % 64, 0);
  assert.match(new TextDecoder("latin1").decode(head), /'shape': \(1, 2, 3\)/);
  assert.equal(values.byteLength, 24);
});

test("the ticks of a scale are equal steps that look equal", () => {
  assert.deepEqual(core.ticksOf({ low: -1, high: 1 }), ["−1", "−0.5", "0", "0.5", "1"]);
  assert.deepEqual(core.ticksOf({ low: 0, high: 0.05 }), ["0", "0.0125", "0.025", "0.0375", "0.05"]);
  for (const [low, high] of [[-0.815, 0.815], [0.163, 0.299], [-2.01, 2.01], [3, 1234]]) {
    const numbers = core.ticksOf({ low, high }).map((text) => Number(text.replaceAll("−", "-")));
    const step = (high - low) / 4;
    numbers.forEach((number, k) => assert.ok(Math.abs(number - low - k * step) <= 0.006 * step, `${numbers}`));
  }
});

test("an error is told where there is one, and a map without values is not called exact", () => {
  const { withinOf } = new Function(`${source}; ${read("words")}; return { withinOf };`)();
  const explorer = (values) => ({ choice: { track: 0 }, frame: {}, index: 0, valuesOf: () => values });
  assert.equal(withinOf(explorer([1, NaN]), "Values", 0.004), "Values are within 0.004 of the exact ones.");
  assert.equal(withinOf(explorer([1, NaN]), "Values", 0), "Values are the exact ones.");
  assert.equal(withinOf(explorer([NaN, NaN]), "Values", 0), "Values: none of this map is defined.");
});

const clip = { prefix: ["CLS"], grid: [2, 6], times: 3, maps: [] };
const at = (row, column) => ({ row, column, grid: [2, 6] });

test("a patch of a clip is called by its frame, and its steps stay within it", () => {
  assert.equal(core.tokenName(clip, at(1, 3)), "frame 1, row 1, column 1");
  assert.deepEqual(core.offsetOf(clip, at(1, 3), at(0, 4)), [-1, -1, 1]);
  assert.deepEqual(core.stepped(clip, at(1, 3), [0, 1]), at(1, 3));
  assert.deepEqual(core.stepped(clip, at(1, 3), [0, -1]), at(1, 2));
  assert.deepEqual(core.atTime(clip, at(1, 3), 2), at(1, 5));
});

test("a frame is cut out of a row of frames", () => {
  const values = Float32Array.from({ length: 12 }, (_, k) => k);
  assert.deepEqual([...core.patchesAt(clip, values, 1)], [2, 3, 8, 9]);
  assert.equal(core.patchesAt({ ...clip, times: 1 }, values, 0), values);
});

test("an offset is of frames, rows and columns, and crosses no seam", () => {
  const frame = { ...clip, tokens: 13, maps: [{ pair: (i, j) => i * 100 + j }] };
  const found = core.offsetStatistics(frame, at(0, 0), at(0, 3), {});
  const values = [];
  for (let r = 0; r < 2; r++) for (let t = 0; t < 2; t++) values.push((1 + 6 * r + 2 * t) * 100 + 1 + 6 * r + 2 * t + 3);
  assert.equal(found.count, 4);
  assert.equal(found.mean, values.reduce((a, b) => a + b) / 4);
});
