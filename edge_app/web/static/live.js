// Keeps the page up to date from the device's event stream; draws the plan of the ground.

const byId = (id) => document.getElementById(id);
const put = (id, text) => { const element = byId(id); if (element && element.textContent !== text) element.textContent = text; };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let ground = { calibrated: false };
let state = null;
const camera = encodeURIComponent(byId("now").dataset.camera);

function showConnection(text, kind) {
  const pill = byId("connection");
  if (pill.textContent !== text) pill.textContent = text; // it is read aloud when it changes
  pill.className = `pill ${kind}`;
}

// The device says five times a second what is; a page that hears nothing for so long knows nothing of now.
const SILENT_MS = 5000;
let heardMs = 0;

function showPicture(comes) {
  showConnection(comes ? "live" : "no picture", comes ? "live" : "lost");
  byId("hiding").hidden = !comes;
}

// A dash alone says nothing to who listens; that it is not known is not the same as none.
function showFigure(id, text, why) {
  const element = byId(id);
  if (!element || element.textContent === (text ?? `–${why}`)) return;
  if (text !== null) return put(id, text);
  const [dash, said] = [document.createElement("span"), document.createElement("span")];
  dash.ariaHidden = "true";
  dash.textContent = "–";
  said.className = "quiet";
  said.textContent = why;
  element.replaceChildren(dash, said);
}

function showCount(id, value, why) {
  showFigure(id, value === null ? null : String(value), why);
  const label = byId(id)?.nextElementSibling;
  if (!label) return;
  const text = value === 1 ? label.dataset.one : label.dataset.several;
  if (label.textContent !== text) label.textContent = text;
}

function showNumbers(now, why) {
  showCount("people", now.people, why);
  showCount("too-close", now.people_too_close, why);
  showCount("pairs", now.pairs_too_close, why);
  showFigure("nearest", now.nearest_m === null ? null : `${now.nearest_m.toFixed(1)} m`, why || "fewer than two people");
  byId("too-close-card")?.classList.toggle("alarm", now.people_too_close > 0);
}

// Why something on this page is not known; empty where all is.
function whyUnknown({ people, people_too_close, utc_s }) {
  const time = utc_s ? new Date(1000 * utc_s).toLocaleTimeString([], { hourCycle: "h23" }) : null;
  if (people === null) return time ? `no picture since ${time}` : "no picture yet";
  return people_too_close === null ? "no calibration holds, so no distances are claimed" : "";
}

const NOTHING = { people: null, people_too_close: null, pairs_too_close: null, nearest_m: null, positions: [], close_pairs: [] };

function showNow() {
  const now = state.now ?? NOTHING;
  const why = whyUnknown(now);
  showNumbers(now, why);
  put("plan-unknown", why && `Nobody is drawn: ${why}.`);
  if (byId("plan-unknown")) byId("plan-unknown").hidden = !why;
  drawPlan();
}

function cutOff() {
  showConnection("page not connected", "lost");
  byId("hiding").hidden = true;
  state = { now: { ...NOTHING, utc_s: state?.now?.utc_s } };
  showNow();
}

function showState() {
  const banner = byId("banner");
  banner.hidden = !state.banner;
  if (state.banner) put("banner", state.banner);
  const health = state.health;
  showPicture(health.current);
  put("fps", `${health.fps.toFixed(1)} a second`);
  put("delay", !health.current || health.delay_ms === null ? "–" : `${Math.round(health.delay_ms)} ms`);
  put("dropped", String(health.dropped_frames));
  put("faults", String(health.faults + health.withheld_pictures));
  put("model", state.model);
  showCount("events-total", state.events_total);
  showNow();
}

function planGeometry(width, height) {
  const turned = ground.outline_m.map(turn);
  const xs = turned.map((point) => point[0]);
  const ys = turned.map((point) => point[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = 0.92 * Math.min(width / (right - left), height / (high - low));
  const x0 = width / 2 - scale * (left + right) / 2;
  const y0 = height / 2 + scale * (low + high) / 2;
  return { scale, at: (point) => { const [x, y] = turn(point); return [x0 + scale * x, y0 - scale * y]; } };
}

function turn([x, y]) {
  const [[a, b], [c, d]] = ground.turn;
  return [a * x + b * y, c * x + d * y];
}

function drawPlan() {
  const canvas = byId("plan");
  if (!canvas || !ground.calibrated) return;
  const density = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * density)) canvas.width = Math.round(width * density);
  if (canvas.height !== Math.round(height * density)) canvas.height = Math.round(height * density);
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, width, height);
  const plan = planGeometry(width, height);
  const step = [0.5, 1, 2, 5, 10].find((metre) => metre * plan.scale >= 28) || 20;
  drawGround(pen, plan, step);
  drawPlaces(pen, plan);
  drawPeople(pen, plan, width, height);
  pen.fillStyle = colour("--ink");
  pen.fillRect(14, height - 18, step * plan.scale, 2);
  pen.font = "12px system-ui, sans-serif";
  pen.fillText(`${step} m`, 14, height - 24);
}

function drawGround(pen, plan, step) {
  const outline = new Path2D();
  ground.outline_m.forEach((point, index) => outline[index ? "lineTo" : "moveTo"](...plan.at(point)));
  outline.closePath();
  pen.fillStyle = colour("--ground");
  pen.fill(outline);
  pen.save();
  pen.clip(outline);
  pen.strokeStyle = colour("--grid");
  pen.lineWidth = 1;
  pen.beginPath();
  const xs = ground.outline_m.map((point) => point[0]);
  const ys = ground.outline_m.map((point) => point[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let x = Math.ceil(left / step) * step; x <= right; x += step) line(pen, plan.at([x, low]), plan.at([x, high]));
  for (let y = Math.ceil(low / step) * step; y <= high; y += step) line(pen, plan.at([left, y]), plan.at([right, y]));
  pen.stroke();
  pen.restore();
  pen.lineWidth = 1;
  pen.strokeStyle = colour("--soft");
  pen.stroke(outline);
}

function drawPlaces(pen, plan) {
  pen.strokeStyle = pen.fillStyle = colour("--calm");
  for (const [places, closed] of [[ground.region_m, true], [ground.line_m, false]]) {
    if (!places) continue;
    const path = new Path2D();
    places.forEach((place, index) => path[index ? "lineTo" : "moveTo"](...plan.at(place)));
    if (closed) path.closePath();
    pen.globalAlpha = 0.12;
    if (closed) pen.fill(path);
    pen.globalAlpha = 0.8;
    pen.lineWidth = closed ? 1 : 3;
    pen.stroke(path);
    pen.globalAlpha = 1;
  }
}

function line(pen, from, to) {
  pen.moveTo(...from);
  pen.lineTo(...to);
}

function drawPeople(pen, plan, width, height) {
  if (!state?.now) return;
  const places = new Map(state.now.positions.map((person) => [person.id, plan.at(person.xy_m)]));
  const pairs = state.now.close_pairs.filter((pair) => places.has(pair.id_a) && places.has(pair.id_b));
  const middles = pairs.map((pair) => {
    const [from, to] = [places.get(pair.id_a), places.get(pair.id_b)];
    pen.strokeStyle = colour("--alarm");
    pen.lineWidth = 3;
    pen.beginPath();
    line(pen, from, to);
    pen.stroke();
    return { distance_m: pair.distance_m, x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2 };
  });
  for (const person of state.now.positions) drawPerson(pen, plan, person, places.get(person.id));
  const dots = [...places.values()].map(([x, y]) => [x - 5, y - 5, x + 5, y + 5]);
  drawDistances(pen, middles.sort((one, other) => one.distance_m - other.distance_m), dots, [width, height]);
}

const isOver = (one, other) => one[0] < other[2] + 4 && other[0] < one[2] + 4 && one[1] < other[3] && other[1] < one[3];

const away = (spot, middle) => Math.hypot((spot[0] + spot[2]) / 2 - middle.x, (spot[1] + spot[3]) / 2 - middle.y);

// The shortest first; one that would hide another moves, or is left out where all around is taken. Where there is room
// it hides no dot and is nearer to its own pair than to others.
function drawDistances(pen, middles, dots, [width, height]) {
  const [high, gap] = [14, 8];
  const taken = [];
  pen.font = "600 12px system-ui, sans-serif";
  pen.lineWidth = 3;
  pen.strokeStyle = colour("--ground");
  pen.fillStyle = colour("--alarm");
  for (const middle of middles) {
    const { distance_m, x, y } = middle;
    const cost = (spot) => away(spot, middle) + (dots.some((dot) => isOver(spot, dot)) ? 60 : 0)
      + (middles.some((other) => away(spot, other) + 12 < away(spot, middle)) ? 40 : 0);
    const text = `${distance_m.toFixed(1)} m`;
    const wide = pen.measureText(text).width;
    const columns = [x + gap, x - gap - wide, x - wide / 2];
    const rows = [0, 1, -1, 2, -2].map((row) => y - gap + row * (high + 2));
    const spots = rows.flatMap((bottom) => columns.map((left) => [left, bottom - high, left + wide, bottom]));
    const inside = spots.filter((spot) => spot[0] >= 0 && spot[1] >= 0 && spot[2] <= width && spot[3] <= height);
    const apart = inside.filter((spot) => !taken.some((other) => isOver(spot, other)));
    const [[, free] = []] = apart.map((spot) => [cost(spot), spot]).sort((one, other) => one[0] - other[0]);
    if (!free) continue;
    taken.push(free);
    pen.strokeText(text, free[0], free[3] - 3);
    pen.fillText(text, free[0], free[3] - 3);
  }
}

function drawPerson(pen, plan, person, [x, y]) {
  const shade = colour(person.too_close ? "--alarm" : "--calm");
  const [[xx, xy], [, yy]] = turnedCovariance(person.cov_m2);
  const mean = (xx + yy) / 2;
  const spread = Math.hypot((xx - yy) / 2, xy);
  const angle = 0.5 * Math.atan2(2 * xy, xx - yy);
  pen.strokeStyle = pen.fillStyle = shade;
  pen.lineWidth = 1.2;
  pen.beginPath();
  pen.ellipse(x, y, plan.scale * Math.sqrt(mean + spread), plan.scale * Math.sqrt(Math.max(mean - spread, 0)), -angle, 0, 2 * Math.PI);
  pen.stroke();
  pen.beginPath();
  pen.arc(x, y, Math.max(4, 0.3 * plan.scale), 0, 2 * Math.PI);
  pen.fill();
}

function turnedCovariance([[xx, xy], [, yy]]) {
  const [[a, b], [c, d]] = ground.turn;
  return [
    [a * a * xx + 2 * a * b * xy + b * b * yy, a * c * xx + (a * d + b * c) * xy + b * d * yy],
    [0, c * c * xx + 2 * c * d * xy + d * d * yy],
  ];
}

function listen() {
  const stream = new EventSource(`/api/v1/stream?camera=${camera}`);
  stream.onopen = () => {
    // After a lost connection the browser shows the last picture for ever; ask for the stream again.
    byId("picture").src = `/live.mjpg?camera=${camera}&since=${Date.now()}`;
  };
  stream.onmessage = (message) => {
    heardMs = Date.now();
    state = JSON.parse(message.data);
    showState();
  };
  stream.onerror = () => {
    cutOff();
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

const answer = await fetch(`/api/v1/ground?camera=${camera}`);
if (answer.ok) ground = await answer.json();
window.addEventListener("resize", drawPlan);
setInterval(() => { if (heardMs && Date.now() - heardMs > SILENT_MS) cutOff(); }, 1000);
listen();
