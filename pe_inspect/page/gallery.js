"use strict";

// Pure functions first: what a row says, in which order rows stand, and which are shown.

/** The order of two cells: numbers by value, texts as people count; what is missing comes last. */
function compared(a, b, descending) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [Number(a), Number(b)];
  const both = Number.isFinite(x) && Number.isFinite(y);
  const order = both ? x - y : a.localeCompare(b, "en", { numeric: true });
  return descending ? -order : order;
}

/** The places of rows, sorted by one column; rows that are equal there keep their order. */
function sorted(rows, column, descending) {
  const places = rows.map((_, place) => place);
  return places.sort((i, j) => compared(rows[i][column], rows[j][column], descending) || i - j);
}

/** Whether a row holds every word that was typed, in any order and case. */
function matches(row, typed) {
  const text = row.join(" ").toLowerCase();
  return typed.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** What a cell is sorted and searched by. */
function valueOf(cell) {
  return cell.dataset.value ?? cell.textContent.trim();
}

function start() {
  const table = document.querySelector("table.index");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const values = rows.map((row) => [...row.cells].map(valueOf));
  const heads = [...table.tHead.rows[0].cells];
  const said = document.getElementById("shown");

  function sortBy(column) {
    const descending = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.hasAttribute("aria-sort") && head.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...sorted(values, column, descending).map((place) => rows[place]));
  }

  function filter(typed) {
    rows.forEach((row, place) => { row.hidden = !matches(values[place], typed); });
    const left = rows.filter((row) => !row.hidden).length;
    said.textContent = `${left} of ${rows.length} shown`;
  }

  // The key numbers fit a screen; the other columns come when they are asked for.
  function showAll(every) {
    table.classList.toggle("brief", !every);
    more.setAttribute("aria-pressed", String(every));
  }

  const more = document.getElementById("all-columns");
  more.addEventListener("click", () => showAll(table.classList.contains("brief")));
  more.hidden = !table.querySelector(".more");
  showAll(more.hidden);
  heads.forEach((head, column) => {
    if (head.dataset.sort === undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(column));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
  const field = document.getElementById("filter");
  field.addEventListener("input", () => filter(field.value));
  field.closest(".tools").hidden = false;
  filter("");
}

if (typeof document === "undefined") module.exports = { compared, sorted, matches };
else start();
