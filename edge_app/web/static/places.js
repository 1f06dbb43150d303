// The page of region and line: corners clicked on the picture, kept in metres on the ground.

import { ask, askJson, say, show } from "./request.js";
import { Still, trace } from "./still.js";

const byId = (id) => document.getElementById(id);
const editor = byId("editor");

if (editor) await begin();

async function begin() {
  const camera = editor.dataset.camera;
  const query = `?camera=${encodeURIComponent(camera)}`;
  const places = { region: JSON.parse(editor.dataset.region), line: JSON.parse(editor.dataset.line) };
  const pixels = { region: [], line: [] };
  let what = "region";

  const still = new Still(byId("picture"), {
    change: async (points, changed) => {
      try {
        const { m } = await askJson("POST", "/api/v1/calibration/map", { camera, px: [points[changed]] });
        show("mistake", m[0] ? "" : "there is no ground at that place; click lower");
        if (m[0]) places[what][changed] = m[0];
        else if (places[what].length > changed) points[changed] = pixels[what][changed];
        else points.splice(changed, 1);
      } catch (error) {
        points.length = Math.min(points.length, places[what].length);
        show("mistake", error.message);
      }
      await project();
    },
    draw: (pen, scale) => {
      trace(pen, pixels.region, scale, { closed: true, fill: "#1f6f8b44", colour: "#6fc3df" });
      trace(pen, pixels.line, scale, { width: 3 });
    },
  });

  // The picture shows what is kept, not what was clicked: both must be the same place.
  async function project() {
    for (const kind of ["region", "line"]) {
      const numbers = places[kind].filter((place) => place.every(Number.isFinite));
      const { px } = await askJson("POST", "/api/v1/calibration/map", { camera, m: numbers });
      pixels[kind] = px.filter((place) => place !== null);
    }
    still.points = [...pixels[what]];
    still.most = what === "line" ? 2 : Infinity;
    showCorners();
    still.paint();
  }

  function showCorners() {
    byId("no-corners").hidden = places[what].length > 0;
    byId("no-corners").textContent = what === "region" ? "None: occupancy and density are about everything in sight." : "None: no passages are counted.";
    byId("area").textContent = what === "region" && places.region.length > 2 ? `Area: ${area(places.region).toFixed(1)} m²` : "";
    byId("corners").tBodies[0].replaceChildren(...places[what].map((place, index) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = String(index + 1);
      row.append(name, ...[0, 1].map((axis) => cell(field(place, index, axis))), cell(remover(index)));
      return row;
    }));
  }

  function field(place, index, axis) {
    const input = document.createElement("input");
    input.inputMode = "decimal";
    input.value = place[axis].toFixed(2);
    input.setAttribute("aria-label", `${"xy"[axis]} of corner ${index + 1}, metres`);
    input.addEventListener("change", () => {
      const value = Number(input.value.replace(",", "."));
      if (input.value.trim() === "" || !Number.isFinite(value)) {
        show("mistake", `'${input.value}' is no number of metres; correct it`);
        return;
      }
      show("mistake", "");
      place[axis] = value;
      project();
    });
    return input;
  }

  function remover(index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = "✕";
    button.setAttribute("aria-label", `Remove corner ${index + 1}`);
    button.addEventListener("click", () => { places[what].splice(index, 1); project(); });
    return button;
  }

  async function save() {
    show("outcome", "");
    const changes = { metrics: { region_m: places.region.length ? places.region : null, line_m: places.line.length ? places.line : null } };
    try {
      const outcome = await askJson("PATCH", "/api/v1/config", { camera, changes });
      show("mistake", "");
      show("outcome", say(outcome));
    } catch (error) {
      show("mistake", error.message);
    }
  }

  async function picture() {
    try {
      await still.load(await ask("GET", `/api/v1/calibration/still${query}`));
      await project();
    } catch (error) {
      show("mistake", error.message);
    }
  }

  document.querySelectorAll('input[name="what"]').forEach((choice) => choice.addEventListener("change", () => { what = choice.value; project(); }));
  byId("clear").addEventListener("click", () => { places[what] = []; project(); });
  byId("save").addEventListener("click", save);
  byId("refresh").addEventListener("click", picture);
  await picture();
}

function cell(content) {
  const made = document.createElement("td");
  made.append(content);
  return made;
}

function area(corners) {
  const twice = corners.reduce((sum, [x, y], index) => {
    const [px, py] = corners.at(index - 1);
    return sum + px * y - x * py;
  }, 0);
  return Math.abs(twice) / 2;
}
