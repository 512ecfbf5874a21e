// Shows what a row says as a card beside whatever names it (data-card), and lights up the edges of a
// graph's node, while that is pointed at or has the focus. Without it, following the link leads to the
// row.
"use strict";
const card = document.createElement("div");
card.className = "pop";
card.setAttribute("role", "status");
card.hidden = true;
document.body.append(card);
function show(target) {
  const row = document.getElementById(target.dataset.card);
  if (!row) return;
  const names = row.closest("table").tHead.rows[0].cells;
  const list = document.createElement("dl");
  [...row.cells].forEach((cell, i) => {
    const said = cell.innerText.trim() || cell.textContent.trim();
    if (!said || said === "–" || row.cells[i].querySelector(".away")) return;
    const name = document.createElement("dt");
    const value = document.createElement("dd");
    name.textContent = names[i].textContent;
    value.textContent = said;
    list.append(name, value);
  });
  card.replaceChildren(list);
  card.hidden = false;
  const at = target.getBoundingClientRect();
  const left = Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 12);
  card.style.left = `${Math.max(8, left) + scrollX}px`;
  card.style.top = `${at.bottom + 8 + scrollY}px`;
}
function light(target, on) {
  const node = target.closest?.("[data-node]") ?? target.querySelector?.(":scope > [data-node]");
  for (const edge of node ? node.closest("svg").querySelectorAll(".edge") : []) {
    const { from, to } = edge.dataset;
    edge.classList.toggle("lit", on && (from === node.dataset.node || to === node.dataset.node));
  }
}
for (const [begin, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(begin, (event) => {
    const target = event.target.closest?.("[data-card]");
    if (target) show(target);
    light(event.target, true);
  });
  document.addEventListener(end, (event) => {
    if (event.target.closest?.("[data-card]")) card.hidden = true;
    light(event.target, false);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") card.hidden = true;
});
