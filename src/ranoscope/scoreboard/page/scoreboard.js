"use strict";
// Two tables that can be filtered by level and kind, and sorted by any column. Without script all rows are shown.

const chosen = { level: "all", kind: "all", own: "yes" };

function filter() {
  let shown = 0;
  for (const row of document.querySelectorAll("tr[data-level]")) {
    const level = chosen.level === "all" || row.dataset.level === chosen.level;
    const kind = chosen.kind === "all" || !row.dataset.kind || row.dataset.kind === chosen.kind;
    const own = chosen.own === "all" || !row.dataset.own || row.dataset.own === chosen.own;
    row.hidden = !(level && kind && own);
    shown += Number(!row.hidden && row.closest("table.board") !== null);
  }
  document.querySelector("#shown").textContent = `${shown} shown`;
}

for (const button of document.querySelectorAll(".controls button")) {
  button.addEventListener("click", () => {
    chosen[button.dataset.filter] = button.value;
    for (const one of button.parentElement.querySelectorAll("button"))
      one.setAttribute("aria-pressed", String(one === button));
    filter();
  });
}

function sort(header, direction) {
  const body = header.closest("table").tBodies[0];
  const column = [...header.parentElement.children].indexOf(header);
  const key = (row) => {
    const cell = row.children[column];
    return cell.dataset.sort === undefined ? cell.textContent.trim() : Number(cell.dataset.sort);
  };
  const sign = direction === "descending" ? -1 : 1;
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => sign * (typeof a === "number" ? a - b : a.localeCompare(b)));
  body.append(...rows.map(([, row]) => row));
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
}

for (const header of document.querySelectorAll("th.sortable")) {
  // Numbers begin with the largest, words with A.
  const first = header.classList.contains("number") ? "descending" : "ascending";
  const second = first === "descending" ? "ascending" : "descending";
  header.querySelector("button").addEventListener("click", () => {
    sort(header, header.getAttribute("aria-sort") === first ? second : first);
  });
}

sort(document.querySelector("table.board th.headline"), "descending");
filter();
