// The calibration page: points into a camera, with its grid and error at once; and the self-calibration's progress.

import { ask, askJson, say, show } from "./request.js";
import { Still, trace } from "./still.js";

const byId = (id) => document.getElementById(id);
const camera = byId("editor").dataset.camera;
const query = `?camera=${encodeURIComponent(camera)}`;
const canKeep = byId("editor").dataset.canKeep === "true";
const FEWEST = 4;
const metres = []; // one [x, y] of texts for each point
const left = new WeakMap(); // from a point's [x, y] to the axes whose fields were left
let preview = null;
let selfGrid = [];
let asked = 0;

const still = new Still(byId("picture"), {
  change: () => { pairUp(); showPoints(); fit(); },
  draw: (pen, scale) => {
    for (const line of preview?.grid ?? selfGrid) {
      trace(pen, line.points, scale, { colour: line.bold ? "#ffffff" : "#aab6c2", width: line.bold ? 1.6 : 0.7 });
    }
  },
});

function pairUp() {
  while (metres.length < still.points.length) metres.push(["", ""]);
  metres.length = still.points.length;
}

function input(index, axis) {
  const texts = metres[index];
  const field = document.createElement("input");
  field.inputMode = "decimal";
  field.value = texts[axis];
  field.setAttribute("aria-label", `${"xy"[axis]} of point ${index + 1}, metres`);
  field.setAttribute("aria-describedby", "needed");
  field.addEventListener("input", () => { texts[axis] = field.value; fit(); });
  field.addEventListener("blur", () => {
    left.set(texts, (left.get(texts) ?? new Set()).add(axis));
    showNeeded();
  });
  return field;
}

const isWrong = (text) => text.trim() !== "" && !Number.isFinite(number(text));
const mark = (field, isFaulty) => (isFaulty ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid"));

// Marks the fields that are no numbers, and those left empty; says what is needed before a calibration can be used.
function showNeeded() {
  const fields = [...document.querySelectorAll("#points tbody tr")].map((row) => [...row.querySelectorAll("input")]);
  fields.forEach((pair, index) => pair.forEach((field, axis) => {
    const text = metres[index][axis];
    mark(field, isWrong(text) || (text.trim() === "" && Boolean(left.get(metres[index])?.has(axis))));
  }));
  mark(byId("hfov"), isWrong(byId("hfov").value));
  const said = needed();
  const element = byId("needed");
  if (element.textContent !== said) element.textContent = said;
  element.hidden = !said;
  element.className = document.querySelector("#points [aria-invalid], #hfov[aria-invalid]") ? "mistake" : "hint";
}

function needed() {
  for (const [index, texts] of metres.entries()) {
    const wrong = texts.find(isWrong);
    if (wrong !== undefined) return `Point ${index + 1}: "${wrong}" is no number of metres.`;
  }
  if (isWrong(byId("hfov").value)) return `Field of view: "${byId("hfov").value}" is no number of degrees.`;
  for (const [index, texts] of metres.entries()) {
    const empty = ["x", "y"].filter((_, axis) => texts[axis].trim() === "");
    if (empty.length) return `Point ${index + 1} still needs ${empty.join(" and ")} in metres.`;
  }
  const more = FEWEST - metres.length;
  return metres.length && more > 0 ? `${more} more ${more > 1 ? "points are" : "point is"} needed.` : "";
}

function showPoints() {
  still.faulty.clear();
  byId("no-points").hidden = still.points.length > 0;
  byId("points").tBodies[0].replaceChildren(...still.points.map((point, index) => {
    const row = document.createElement("tr");
    const number = document.createElement("th");
    number.scope = "row";
    number.textContent = String(index + 1);
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "link";
    remove.textContent = "✕";
    remove.setAttribute("aria-label", `Remove point ${index + 1}`);
    remove.addEventListener("click", () => {
      still.points.splice(index, 1);
      metres.splice(index, 1);
      showPoints();
      still.paint();
      fit();
    });
    const cells = [
      point.map((value) => Math.round(value)).join(", "),
      input(index, 0), input(index, 1), "", remove,
    ].map((content) => { const cell = document.createElement("td"); cell.append(content); return cell; });
    cells[3].className = "off";
    row.append(number, ...cells);
    return row;
  }));
}

const number = (text) => (text.trim() === "" ? NaN : Number(text.replace(",", ".")));

function body() {
  const points = still.points.map((px, index) => ({ px, m: metres[index].map(number) }));
  const hfov = number(byId("hfov").value);
  return { camera, points, ...(Number.isFinite(hfov) ? { hfov_deg: hfov } : {}) };
}

function badge(text) {
  const element = document.createElement("span");
  element.className = "badge";
  element.textContent = text;
  return element;
}

async function fit() {
  const turn = ++asked;
  const sent = body();
  showNeeded();
  const whole = sent.points.length >= FEWEST && !needed();
  let found = null;
  let mistake = "";
  if (whole) {
    try {
      found = await askJson("POST", "/api/v1/calibration/preview", sent);
    } catch (error) {
      mistake = error.message;
    }
  }
  if (turn !== asked) return; // a newer question is on its way
  preview = found;
  show("mistake", mistake);
  byId("rms").textContent = found ? `${found.rms_px.toFixed(1)} pixels` : "–";
  byId("gap").textContent = found ? `${found.gap_error_m.toFixed(2)} m in 9 of 10 cases` : "–";
  document.querySelectorAll("#points .off").forEach((cell, index) => {
    const off = found?.residual_px[index];
    const isLeftOut = found?.used[index] === false;
    cell.replaceChildren(!found ? "" : off === null ? "–" : off.toFixed(1), ...(isLeftOut ? [badge("left out")] : []));
    cell.parentElement.classList.toggle("left-out", isLeftOut);
    if (isLeftOut) still.faulty.add(index);
    else still.faulty.delete(index);
  });
  byId("keep").disabled = !canKeep || !found;
  still.paint();
}

async function picture(method) {
  try {
    const sent = method === "POST" ? ["POST", "/api/v1/calibration/still", { camera }] : ["GET", `/api/v1/calibration/still${query}`];
    await still.load(await ask(...sent));
    show("mistake", "");
  } catch (error) {
    show("mistake", error.message);
  }
}

async function use(path, sent) {
  show("outcome", "");
  try {
    const kept = await askJson("PUT", path, sent);
    show("mistake", "");
    show("outcome", `Kept as ${kept.file}. ${say(kept)}`);
  } catch (error) {
    show("mistake", error.message);
  }
}

let next;

function showSelf(said) {
  const state = said.fault ?? (said.running ? "watching" : said.frames ? "stopped" : "not begun");
  byId("self-state").textContent = said.frames ? `${state}, ${said.frames} frames${said.unsure ? `; ${said.unsure}` : "; sure"}` : state;
  byId("self-people").textContent = said.frames ? `${said.people}, ${said.walks}` : "–";
  byId("self-camera").textContent = said.height_m === null ? "–" : `${said.height_m} m high, tilt ${said.tilt_deg}°, roll ${said.roll_deg}°, view ${said.hfov_deg}°`;
  byId("self-sigma").textContent = said.distance_sigma === null ? "–" : `${(100 * said.distance_sigma).toFixed(1)} %`;
  byId("self-use").disabled = said.unsure !== null || !said.people || !canKeep;
  selfGrid = said.grid;
  if (selfGrid.length && !preview) still.paint();
  clearTimeout(next);
  if (said.running) next = setTimeout(follow, 3000);
}

async function follow() {
  try {
    showSelf(await askJson("GET", `/api/v1/calibration/self${query}`));
  } catch (error) {
    show("mistake", error.message);
  }
}

byId("refresh").addEventListener("click", () => picture("GET"));
byId("unhidden").addEventListener("click", () => picture("POST"));
byId("hfov").addEventListener("input", fit);
byId("clear").addEventListener("click", () => { still.points.length = 0; pairUp(); showPoints(); fit(); });
byId("keep").addEventListener("click", () => use("/api/v1/calibration", body()));
byId("self-use").addEventListener("click", () => use("/api/v1/calibration/self", { camera }));
byId("self-begin").addEventListener("click", async () => {
  const hfov = number(byId("hfov").value);
  if (isWrong(byId("hfov").value)) {
    byId("hfov").focus();
    return;
  }
  try {
    showSelf(await askJson("POST", "/api/v1/calibration/self", { camera, ...(Number.isFinite(hfov) ? { hfov_deg: hfov } : {}) }));
  } catch (error) {
    show("mistake", error.message);
  }
});
byId("rectangle").addEventListener("click", () => {
  const [width, length] = ["rect-width", "rect-length"].map((id) => byId(id).value);
  const corners = [["0", "0"], [width, "0"], [width, length], ["0", length]];
  corners.slice(0, metres.length).forEach((corner, index) => { metres[index] = corner; });
  showPoints();
  fit();
});
await picture("GET");
await follow();
