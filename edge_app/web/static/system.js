// Keeps the system page up to date: fetches the page anew and puts its figures in place.

const EVERY_MS = 5000;

async function renew() {
  if (document.hidden) return;
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("system");
  const log = document.querySelector(".log");
  // Nobody likes text that moves while it is read.
  if (fresh && (!log || log.scrollTop === 0) && !document.getSelection().toString() && document.activeElement !== log) {
    document.getElementById("system").replaceWith(fresh);
  }
}

setInterval(() => renew().catch(() => {}), EVERY_MS);
