// A still picture on a canvas with points that are set by mouse, finger or keyboard.

const REACH_PX = 16;

export class Still {
  // change(points) is called after every change; draw(pen, scale) draws what lies between picture and points.
  constructor(canvas, { change, draw }) {
    this.canvas = canvas;
    this.points = [];
    this.faulty = new Set(); // indices of points that do not fit the others
    this.cross = null;
    this.change = change;
    this.drawUnder = draw;
    this.image = null;
    this.dragged = -1;
    this.most = Infinity;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", () => this.release());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cross = null; this.paint(); });
  }

  async load(answer) {
    this.image = await createImageBitmap(await answer.blob());
    this.canvas.width = this.image.width;
    this.canvas.height = this.image.height;
    this.paint();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  press(event) {
    if (!this.image) return;
    const place = this.place(event);
    const reach = (REACH_PX * this.canvas.width) / this.canvas.getBoundingClientRect().width;
    this.dragged = this.points.findIndex((point) => Math.hypot(point[0] - place[0], point[1] - place[1]) < reach);
    if (this.dragged < 0) this.add(place);
    else this.canvas.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (this.dragged < 0) return;
    this.points[this.dragged] = this.place(event);
    this.paint();
  }

  release() {
    if (this.dragged >= 0) this.change(this.points, this.dragged);
    this.dragged = -1;
  }

  key(event) {
    const step = event.shiftKey ? 20 : 2;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (!this.image || !(event.key in moves || event.key === "Enter")) return;
    event.preventDefault();
    this.cross ??= [this.canvas.width / 2, this.canvas.height * 0.75];
    if (event.key === "Enter") { this.add([...this.cross]); return; }
    const [x, y] = moves[event.key];
    this.cross = [Math.min(Math.max(this.cross[0] + x, 0), this.canvas.width), Math.min(Math.max(this.cross[1] + y, 0), this.canvas.height)];
    this.paint();
  }

  add(place) {
    if (this.points.length >= this.most) return;
    this.points.push(place);
    this.change(this.points, this.points.length - 1);
    this.paint();
  }

  paint() {
    const pen = this.canvas.getContext("2d");
    if (!this.image) return;
    pen.drawImage(this.image, 0, 0);
    const scale = this.canvas.width / Math.max(this.canvas.getBoundingClientRect().width, 1);
    this.drawUnder?.(pen, scale);
    this.points.forEach((point, index) => drawPoint(pen, point, String(index + 1), scale, this.faulty.has(index)));
    if (this.cross) drawCross(pen, this.cross, scale);
  }
}

export function trace(pen, points, scale, { colour = "#ffb08a", width = 2, closed = false, fill = null } = {}) {
  if (points.length < 2) return;
  pen.beginPath();
  points.forEach((point, index) => (index ? pen.lineTo(...point) : pen.moveTo(...point)));
  if (closed) pen.closePath();
  if (fill) { pen.fillStyle = fill; pen.fill(); }
  pen.lineWidth = (width + 2) * scale;
  pen.strokeStyle = "#101820b0";
  pen.stroke();
  pen.lineWidth = width * scale;
  pen.strokeStyle = colour;
  pen.stroke();
}

// A faulty point is a large crossed-out ring, which differs by its form too.
function drawPoint(pen, [x, y], label, scale, isFaulty) {
  const [radius, arm] = [(isFaulty ? 10 : 7) * scale, 7 * scale];
  pen.lineWidth = (isFaulty ? 3 : 2) * scale;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = isFaulty ? "#ffffff" : "#c2410c";
  pen.fill();
  if (isFaulty) {
    for (const way of [-1, 1]) {
      pen.moveTo(x - arm, y - way * arm);
      pen.lineTo(x + arm, y + way * arm);
    }
  }
  pen.strokeStyle = isFaulty ? "#c2410c" : "#ffffff";
  pen.stroke();
  pen.font = `600 ${14 * scale}px system-ui, sans-serif`;
  pen.lineWidth = 4 * scale;
  pen.strokeStyle = "#101820";
  pen.strokeText(label, x + 10 * scale, y - 8 * scale);
  pen.fillStyle = "#ffffff";
  pen.fillText(label, x + 10 * scale, y - 8 * scale);
}

function drawCross(pen, [x, y], scale) {
  trace(pen, [[x - 16 * scale, y], [x + 16 * scale, y]], scale, { colour: "#ffffff" });
  trace(pen, [[x, y - 16 * scale], [x, y + 16 * scale]], scale, { colour: "#ffffff" });
}
