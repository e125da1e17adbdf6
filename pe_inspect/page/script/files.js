// Links to what is shown, and files of it.

function linkOf(explorer) {
  const { frame, frames, index, choice, view } = explorer;
  const query = explorer.queryIn(frame) ?? explorer.query;
  const key = shared.held ? tokenOf(frame, shared.key) : null;
  const place = (token) => (isAt(token) ? placeOf(frame, token).join() : token.prefix);
  return formatLink({
    view: view.id,
    [view.axis]: linkWord(frames, index),
    patch: place(query),
    grid: wholeGrid(frame).join("x"),
    with: key && place(key),
    [view.trackWord]: view.tracks.length > 1 ? view.tracks[choice.track].label : "",
    head: choice.head < 0 ? "" : choice.head,
    metric: choice.metric === "cosine" ? "" : choice.metric,
    minus: choice.minus,
    time: frame.times > 1 ? explorer.time : "",
    scale: choice.scale === (view.limit ? "whole" : "fitted") ? "" : choice.scale,
  });
}

function writeLink(explorer) {
  clearTimeout(shared.writing);
  shared.writing = setTimeout(() => {
    try {
      history.replaceState(null, "", linkOf(explorer));
    } catch {
      // a page inside a notebook's frame has no address of its own
    }
  }, 150);
}

function fileName(explorer, suffix, track = "") {
  const { frame } = explorer;
  const query = explorer.queryIn(frame) ?? explorer.query;
  const place = isAt(query) ? placeOf(frame, query).join("-") : query.prefix;
  return [explorer.view.id, place, track].filter(Boolean).join("_").replace(/[^\w.-]+/g, "-") + `.${suffix}`;
}

// Of all that is shown where it has one shape: (tracks, frames, rows, columns); else of the chosen track, or its chosen frame.
function saveNpy(explorer) {
  const { tracks, shownTracks, choice } = explorer;
  const isOne = (list) => new Set(list.flatMap((track) => tracks[track].frames.map((frame) => frame.grid.join()))).size === 1;
  const isEven = new Set(shownTracks.map((track) => tracks[track].frames.length)).size === 1;
  const kept = isEven && isOne(shownTracks) ? shownTracks : [choice.track];
  const places = isOne(kept) ? explorer.frames.map((_, index) => index) : [explorer.index];
  const values = kept.flatMap((track) => places.flatMap((index) => [...patchesOf(explorer, track, index)]));
  const shape = [...(kept.length > 1 ? [kept.length] : []), places.length, ...tracks[kept[0]].frames[places[0]].grid];
  const name = kept.length < tracks.length ? tracks[choice.track].label : "";
  download(fileName(explorer, "npy", name), "application/octet-stream", npy(values, shape));
}

function patchesOf(explorer, track, index) {
  const frame = explorer.tracks[track].frames[index];
  return explorer.valuesOf(frame, track, index).subarray(frame.prefix.length);
}

function saveCsv(explorer) {
  const rows = [[explorer.view.axis, "track", "row", "column", "value"]];
  for (const track of explorer.shownTracks) {
    const { label, frames } = explorer.tracks[track];
    frames.forEach((frame, index) => {
      explorer.valuesOf(frame, track, index).forEach((value, token) => {
        const place = token < frame.prefix.length ? [frame.prefix[token], ""] : placeOf(frame, patchOf(frame, token));
        rows.push([frame.name, label, ...place, value]);
      });
    });
  }
  download(fileName(explorer, "csv"), "text/csv", [csv(rows)]);
}

function savePng(explorer) {
  const { frame, scale, palettes, planes, tickTexts } = explorer;
  const canvas = pictureOf({
    lines: [explorer.view.title, [whatOf(explorer), chosenIn(explorer, frame)].join(" of "), document.title],
    planes: planes.map((plane) => largeOf(explorer, plane)),
    rows: explorer.shownTracks.map((track) => smallOf(explorer, track)),
    scale, ticks: tickTexts, palettes,
  });
  downloadCanvas(fileName(explorer, "png"), canvas);
}

// The quantity, the head, and what was subtracted.
function whatOf(explorer) {
  const { view, choice } = explorer;
  const head = choice.head < 0 ? "" : view.headNames[choice.head] ?? `head ${choice.head}`;
  const minus = choice.minus && differences(explorer).find(([value]) => value === choice.minus)[1];
  const added = [head, minus].filter(Boolean).join(", ");
  return added ? `${quantityOf(explorer)} (${added})` : quantityOf(explorer);
}

function largeOf(explorer, { picture, track }) {
  const frame = explorer.frameOf(track);
  const label = explorer.tracks.length > 1 ? `${explorer.tracks[track].label}: ${frame.name}` : frame.name;
  return { source: picture, label, mark: explorer.queryIn(frame) };
}

function smallOf(explorer, track) {
  const { frames, label } = explorer.tracks[track];
  const items = explorer.buttons.filter((item) => item.track === track).map(({ map, index }) => ({ source: map.picture, label: frames[index].name }));
  return { label: explorer.tracks.length > 1 ? label : "", items };
}
