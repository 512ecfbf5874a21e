// Shows that what a form asks for is being carried out, and sends it once however often its button is
// hit. Without it the browser alone shows that it waits.
"use strict";
const PATIENCE = 15000; // milliseconds, for whoever has stopped the page from loading
function rest(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
}
document.addEventListener("submit", (event) => {
  const form = event.target;
  if ("sent" in form.dataset) return event.preventDefault();
  form.dataset.sent = "";
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(rest, PATIENCE, form);
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(rest));
