// Requests to the device's API: with the page's CSRF token, and a sentence when they are refused.

const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export async function ask(method, path, body) {
  const headers = { "X-CSRF-Token": token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("the device does not answer; check the connection");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `the device refused (${answer.status}); load the page again`);
}

export const askJson = async (method, path, body) => (await ask(method, path, body)).json();

export function show(id, sentence) {
  const element = document.getElementById(id);
  element.hidden = !sentence;
  element.textContent = sentence ? sentence[0].toUpperCase() + sentence.slice(1) : "";
}

export function say(outcome) {
  const parts = [];
  if (outcome.live.length) parts.push(`In force now: ${outcome.live.join(", ")}.`);
  if (outcome.needs_restart.length) parts.push(`Needs restart: ${outcome.needs_restart.join(", ")}.`);
  return parts.join(" ");
}
