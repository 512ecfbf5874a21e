// Shows times in the reader's own zone; the title keeps UTC. Without it the page shows UTC.
"use strict";
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const axes = {
  day: new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short" }),
  time: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
};
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local]), [data-at]:not([data-local])")) {
    const at = new Date(time.dateTime ?? time.dataset.at);
    if (Number.isNaN(at.getTime())) continue;
    const form = time.dateTime ? local : axes[time.dataset.form];
    time.firstChild.nodeValue = form.format(at); // a picture's text holds its title beside it
    time.dataset.local = "";
  }
}
localise(document);
new MutationObserver((changes) => {
  for (const change of changes) if (change.addedNodes.length) localise(change.target);
}).observe(document.body, { childList: true, subtree: true });
