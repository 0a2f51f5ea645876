// Values on hover, focus and touch; tables that sort by a click on a head; the filter of mistakes.
"use strict";

const tip = document.getElementById("tip");
for (const element of document.querySelectorAll("main [title]")) {
  element.dataset.tip = element.title;
  element.setAttribute("aria-label", element.title);
  element.removeAttribute("title");
}
function showTip(event) {
  const element = event.target.closest?.("[data-tip]");
  tip.hidden = !element;
  if (!element) return;
  tip.textContent = element.dataset.tip;
  const box = element.getBoundingClientRect();
  const x = event.clientX || box.left + box.width / 2;
  const y = event.clientY || box.top;
  const left = Math.min(x + 12, innerWidth - tip.offsetWidth - 8);
  const above = y - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : y + 18}px`;
}
for (const kind of ["pointermove", "pointerdown", "focusin"]) addEventListener(kind, showTip);
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

function valueOf(cell) {
  const text = cell.firstChild ? cell.textContent.trim() : "";
  const number = parseFloat(text.replaceAll(",", ""));
  return cell.classList.contains("name") || Number.isNaN(number) ? text : number;
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b, undefined, { numeric: true });
}
function sortBy(head) {
  const table = head.closest("table");
  const place = head.cellIndex;
  const descending = head.getAttribute("aria-sort") === "descending";
  const first = head.classList.contains("name") || head.classList.contains("text") ? 1 : -1;
  const sign = head.hasAttribute("aria-sort") ? (descending ? 1 : -1) : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => sign * compare(valueOf(a.cells[place]), valueOf(b.cells[place])));
  table.tBodies[0].append(...rows);
}
for (const head of document.querySelectorAll("table.sortable th")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sortBy(head));
  head.addEventListener("keydown", (event) => {
    if (event.key === "Enter") sortBy(head);
  });
}

const ORDERS = {
  confidence: (a, b) => b.dataset.confidence - a.dataset.confidence,
  unsure: (a, b) => a.dataset.confidence - b.dataset.confidence,
  modes: (a, b) => answersOf(b).length - answersOf(a).length || ORDERS.confidence(a, b),
};
function answersOf(card) {
  return [...card.querySelectorAll("[data-mode]")];
}
function show(gallery) {
  const wanted = {};
  for (const choice of gallery.querySelectorAll("[data-filter]")) {
    wanted[choice.dataset.filter] = choice.value;
  }
  const cards = [...gallery.querySelectorAll(".card")];
  let shown = 0;
  for (const card of cards) {
    const fits = (!wanted.true || card.dataset.true === wanted.true) && answersOf(card).some(
      ({ dataset }) => (!wanted.predicted || dataset.predicted === wanted.predicted)
        && (!wanted.mode || dataset.mode === wanted.mode),
    );
    card.hidden = !fits;
    shown += fits;
  }
  cards.sort(ORDERS[gallery.querySelector("[data-order]").value]);
  gallery.querySelector(".cards").append(...cards);
  gallery.querySelector("output").textContent = `${shown} of ${cards.length} pictures`;
}
for (const gallery of document.querySelectorAll(".gallery")) {
  gallery.addEventListener("change", () => show(gallery));
  gallery.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  show(gallery);
}

// On a phone the contents are folded; on paper all is open.
const contents = document.querySelector("nav details");
if (matchMedia("(max-width: 70rem)").matches) contents.open = false;
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
