// Keeps the live part of a page up to date with what the server sends: what is open stays open, what
// was typed stays in its field, and the focus where it is; a connection that is lost is told. Without
// it the page of a running cycle reloads.
"use strict";
const part = document.getElementById("live");
const FIELDS = "textarea, select, input:not([type=hidden])";
function nameOf(each) {
  const form = each.form ? each.form.getAttribute("action") : "";
  return [form, each.getAttribute("href"), each.name, each.tagName === "BUTTON" && each.value].join(" ");
}
function find(name, kinds) {
  return [...part.querySelectorAll(kinds)].find((each) => nameOf(each) === name);
}
function replace(html) {
  const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
  const typed = [...part.querySelectorAll(FIELDS)].map((each) => [nameOf(each), each]);
  const held = part.contains(document.activeElement) && document.activeElement;
  const at = held && "selectionStart" in held ? [held.selectionStart, held.selectionEnd] : null;
  part.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const [name, before] of typed) {
    const field = find(name, FIELDS);
    if (before.type === "file") field?.replaceWith(before); // no script may choose a file again
    else if (field) field.value = before.value;
  }
  const again = held ? find(nameOf(held), `[href], button, ${FIELDS}`) : null;
  again?.focus({ preventScroll: true });
  if (again && at && at[0] !== null) again.setSelectionRange(...at);
}
if (part && part.dataset.events) {
  const source = new EventSource(part.dataset.events);
  const lost = document.createElement("p");
  lost.className = "notice warn";
  lost.setAttribute("role", "status");
  lost.hidden = true;
  part.before(lost);
  source.addEventListener("message", (event) => replace(event.data));
  source.addEventListener("end", () => source.close());
  source.addEventListener("open", () => { lost.hidden = true; });
  source.addEventListener("error", () => {
    const over = source.readyState === EventSource.CLOSED;
    lost.textContent = "The connection is lost, so what stands here may be old. ";
    lost.textContent += over ? "Load the page again." : "Trying again …";
    lost.hidden = false;
  });
}
